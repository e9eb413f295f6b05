import Tensors

/// "Adam: A Method for Stochastic Optimization", arXiv 1412.6980, as `torch.optim.Adam`:
///
///     g = gradient + weightDecay · w
///     m = β₁ m + (1 - β₁) g,  v = β₂ v + (1 - β₂) g²
///     w = w - learningRate · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps)
///
/// with t the number of the parameter's steps.
public class Adam: Optimizer {
    /// `(β₁, β₂)`.
    public let betas: (Double, Double)
    public let eps: Double
    private let decoupled: Bool

    public convenience init(
        _ groups: [ParameterGroup], betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-8
    ) {
        self.init(groups, betas: betas, eps: eps, decoupled: false)
    }

    fileprivate init(_ groups: [ParameterGroup], betas: (Double, Double), eps: Double, decoupled: Bool) {
        precondition(0..<1 ~= betas.0 && 0..<1 ~= betas.1, "Adam: betas \(betas)")
        precondition(eps >= 0, "Adam: eps \(eps)")
        self.betas = betas
        self.eps = eps
        self.decoupled = decoupled
        super.init(groups, stateNames: ["exp_avg", "exp_avg_sq"])
    }

    public override func update(
        _ parameter: Parameter, gradient: Tensor, learningRate: Double, weightDecay: Double, state: inout State
    ) {
        if state.tensors.isEmpty { state.tensors = [.zeros(parameter.shape), .zeros(parameter.shape)] }
        var square = state.tensors.removeLast(), mean = state.tensors.removeLast()
        let steps = state.steps
        parameter.mutate {
            $0.takeAdamStep(
                gradient: gradient, mean: &mean, square: &square, step: steps, learningRate: learningRate,
                betas: betas, eps: eps, weightDecay: weightDecay, decoupled: decoupled)
        }
        state.tensors = [mean, square]
    }
}

/// Adam with decay apart from the gradient: "Decoupled Weight Decay Regularization", arXiv 1711.05101, as
/// `torch.optim.AdamW`. Before the step of ``Adam`` without decay, `w = w - learningRate · weightDecay · w`.
public final class AdamW: Adam {
    public init(
        _ groups: [ParameterGroup], betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-8
    ) {
        super.init(groups, betas: betas, eps: eps, decoupled: true)
    }
}
