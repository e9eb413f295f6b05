import Tensors

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` without dampening:
///
///     g = gradient + weightDecay · w
///     b = momentum · b + g                        (b = g in the first step)
///     w = w - learningRate · b                    (Nesterov: g + momentum · b in the place of b)
public final class SGD: Optimizer {
    public let momentum: Double
    public let nesterov: Bool

    /// - Precondition: Nesterov's way needs a momentum.
    public init(_ groups: [ParameterGroup], momentum: Double = 0, nesterov: Bool = false) {
        precondition(0..<1 ~= momentum, "SGD: momentum \(momentum)")
        precondition(momentum > 0 || !nesterov, "SGD: Nesterov's way needs a momentum")
        self.momentum = momentum
        self.nesterov = nesterov
        super.init(groups, stateNames: momentum == 0 ? [] : ["momentum_buffer"])
    }

    public override func update(
        _ parameter: Parameter, gradient: Tensor, learningRate: Double, weightDecay: Double, state: inout State
    ) {
        var buffer = state.tensors.popLast()
        parameter.mutate {
            $0.takeSGDStep(
                gradient: gradient, momentum: &buffer, learningRate: Float(learningRate),
                momentumFactor: Float(momentum), weightDecay: Float(weightDecay), nesterov: nesterov)
        }
        state.tensors = buffer.map { [$0] } ?? []
    }
}
