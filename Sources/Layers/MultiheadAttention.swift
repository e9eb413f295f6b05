import Tensors

/// Self-attention with H heads, `[N, L, C]` to the same shape, as `torch.nn.MultiheadAttention` with biases and without
/// dropout (arXiv 1706.03762).
public final class MultiheadAttention: Module {
    public let features: Int
    public let heads: Int
    /// Queries, keys and values: `[3 · C, C]`.
    public let inputWeight: Parameter
    /// `[3 · C]`.
    public let inputBias: Parameter
    @Child public var outputProjection: Module

    /// - Precondition: `heads` divides `features`.
    public init(_ features: Int, heads: Int) {
        precondition(
            features > 0 && heads > 0 && features % heads == 0,
            "MultiheadAttention: \(features) features for \(heads) heads")
        self.features = features
        self.heads = heads
        inputWeight = Parameter(key: "in_proj_weight", shape: [3 * features, features], initializer: .xavierUniform)
        inputBias = Parameter(key: "in_proj_bias", shape: [3 * features], initializer: .zeros)
        let projection = Linear(features, features)
        projection.bias?.initialize(.zeros)
        _outputProjection = Child(wrappedValue: projection, key: "out_proj")
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        precondition(
            x.rank == 3 && x.shape[2] == features,
            "MultiheadAttention: an input of shape \(x.shape), expected [N, L, \(features)]")
        let depth = features / heads
        let packed = x.linear(inputWeight.value, bias: inputBias.value)
            .reshaped([x.shape[0], x.shape[1], 3, heads, depth])
        return outputProjection(packed.attention(scale: 1 / Float(depth).squareRoot()))
    }
}
