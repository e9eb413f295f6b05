import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How a parameter gets its first values: the recipes of `torch.nn.init`.
public enum Initializer: Sendable, Hashable {
    case constant(Float)
    case uniform(low: Float, high: Float)
    case normal(mean: Float = 0, std: Float)
    /// Normal, redrawn until within `low ... high`.
    case truncatedNormal(mean: Float = 0, std: Float, low: Float = -2, high: Float = 2)
    /// Normal with `std = gain / √fan`, arXiv 1502.01852; `gain` is √2 for ReLU.
    case kaimingNormal(Fan, gain: Float = Float(2).squareRoot())
    /// Uniform within `± gain √(3 / fan)`; the gain `1 / √3` is what `torch.nn.Linear` and `Conv2d` start with.
    case kaimingUniform(Fan, gain: Float = (1 / Float(3)).squareRoot())
    /// Uniform within `± √(6 / (fanIn + fanOut))`.
    case xavierUniform

    /// What a variance is scaled by: the inputs of one output, or the outputs that one input reaches.
    public enum Fan: Sendable, Hashable { case `in`, out }

    public static let zeros = Initializer.constant(0)
    public static let ones = Initializer.constant(1)

    /// A tensor of this recipe.
    ///
    /// - Parameters:
    ///   - shape: the tensor's shape.
    ///   - fans: (inputs of one output, outputs of one input).
    func tensor(shape: [Int], fans: (in: Int, out: Int), seed: UInt64) -> Tensor {
        var source = RandomSource(seed: seed)
        return Tensor(shape: shape) { target in
            switch resolved(fans: fans) {
            case .constant(let value):
                target.update(repeating: value)
            case .uniform(let low, let high):
                for index in target.indices { target[index] = low + (high - low) * Float(source.uniform()) }
            case .normal(let mean, let std):
                for index in target.indices { target[index] = mean + std * Float(source.normal()) }
            case .truncatedNormal(let mean, let std, let low, let high):
                for index in target.indices {
                    repeat {
                        target[index] = mean + std * Float(source.normal())
                    } while !(low...high ~= target[index])
                }
            case .kaimingNormal, .kaimingUniform, .xavierUniform:
                preconditionFailure("resolved(fans:) leaves no recipe by fan")
            }
        }
    }

    /// The recipe with its numbers worked out.
    private func resolved(fans: (in: Int, out: Int)) -> Initializer {
        switch self {
        case .kaimingNormal(let fan, let gain):
            return .normal(std: gain / Float(fan == .in ? fans.in : fans.out).squareRoot())
        case .kaimingUniform(let fan, let gain):
            let bound = gain * (3 / Float(fan == .in ? fans.in : fans.out)).squareRoot()
            return .uniform(low: -bound, high: bound)
        case .xavierUniform:
            let bound = (6 / Float(fans.in + fans.out)).squareRoot()
            return .uniform(low: -bound, high: bound)
        default:
            return self
        }
    }
}
