import Tensors

/// Layer norm over the last axis: `[..., C]` to the same shape, as `torch.nn.LayerNorm` (arXiv 1607.06450).
public final class LayerNorm: Module {
    public let features: Int
    public let eps: Float
    public let weight: Parameter
    public let bias: Parameter

    public init(_ features: Int, eps: Float = 1e-5) {
        self.features = features
        self.eps = eps
        weight = Parameter(shape: [features], initializer: .ones)
        bias = Parameter(shape: [features], initializer: .zeros)
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        x.layerNorm(weight: weight.value, bias: bias.value, eps: eps)
    }

    public override var hyperparameterDescription: String { "(\(features),), eps=\(eps), elementwise_affine=True" }
}
