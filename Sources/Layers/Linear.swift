import Tensors

/// Fully-connected layer, `x wᵀ + b`: `[..., I]` to `[..., O]`, as `torch.nn.Linear`.
public final class Linear: Module {
    public let inFeatures: Int
    public let outFeatures: Int
    /// `[O, I]`.
    public let weight: Parameter
    /// `[O]`.
    public let bias: Parameter?

    public init(_ inFeatures: Int, _ outFeatures: Int, bias: Bool = true) {
        precondition(inFeatures > 0 && outFeatures > 0, "Linear: \(inFeatures) to \(outFeatures) features")
        self.inFeatures = inFeatures
        self.outFeatures = outFeatures
        weight = Parameter(shape: [outFeatures, inFeatures], initializer: .kaimingUniform(.in))
        let bound = 1 / Float(inFeatures).squareRoot()
        self.bias = bias ? Parameter(shape: [outFeatures], initializer: .uniform(low: -bound, high: bound)) : nil
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor { x.linear(weight.value, bias: bias?.value) }

    public override var hyperparameterDescription: String {
        "in_features=\(inFeatures), out_features=\(outFeatures), bias=\(bias == nil ? "False" : "True")"
    }
}
