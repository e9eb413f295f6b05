import Tensors

/// Scales all gradients together so that their norm, as of one long vector, is at most `maximum`: as
/// `torch.nn.utils.clip_grad_norm_`, which multiplies by `maximum / (norm + 1e-6)` where that is below 1. Parameters
/// without a gradient are passed over.
///
/// - Returns: the norm before. Not finite if a gradient is not: the gradients are then of no use.
@discardableResult
public func clipGradientNorm(_ parameters: some Sequence<Parameter>, maximum: Double) -> Double {
    precondition(maximum > 0, "clipGradientNorm: maximum \(maximum)")
    let parameters = parameters.filter { $0.gradient != nil }
    let norm = parameters.reduce(0) { $0 + $1.gradient!.sumOfSquares }.squareRoot()
    let factor = maximum / (norm + 1e-6)
    // A factor that is no number is not at least 1: it shows in the gradients, as in PyTorch.
    if !(factor >= 1) {
        for parameter in parameters { parameter.gradient!.scale(by: Float(factor)) }
    }
    return norm
}

/// Limits each element of the gradients to `-maximum ... maximum`, as `torch.nn.utils.clip_grad_value_`.
public func clipGradientValue(_ parameters: some Sequence<Parameter>, maximum: Float) {
    precondition(maximum > 0, "clipGradientValue: maximum \(maximum)")
    for parameter in parameters {
        parameter.gradient = parameter.gradient?.clamped(low: -maximum, high: maximum)
    }
}
