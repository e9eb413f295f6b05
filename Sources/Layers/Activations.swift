import Tensors

/// An activation function as a module: any shape to the same shape.
open class ActivationModule: Module {
    public let activation: Activation

    init(_ activation: Activation) {
        self.activation = activation
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor { x.activated(activation) }
}

/// `max(x, 0)`.
public final class ReLU: ActivationModule {
    public init() { super.init(.relu) }
}

/// `min(max(x, 0), 6)`.
public final class ReLU6: ActivationModule {
    public init() { super.init(.relu6) }
}

/// `x · min(max(x + 3, 0), 6) / 6` (arXiv 1905.02244).
public final class Hardswish: ActivationModule {
    public init() { super.init(.hardswish) }
}

/// `min(max(x + 3, 0), 6) / 6`.
public final class Hardsigmoid: ActivationModule {
    public init() { super.init(.hardsigmoid) }
}

/// `x · sigmoid(x)` (arXiv 1606.08415).
public final class SiLU: ActivationModule {
    public init() { super.init(.silu) }
}

/// `x · Φ(x)` with the normal distribution's exact Φ (arXiv 1606.08415).
public final class GELU: ActivationModule {
    public init() { super.init(.gelu) }
}

/// `1 / (1 + exp(-x))`.
public final class Sigmoid: ActivationModule {
    public init() { super.init(.sigmoid) }
}

/// The hyperbolic tangent.
public final class Tanh: ActivationModule {
    public init() { super.init(.tanh) }
}

extension Activation {
    /// A module of this function.
    public func makeModule() -> Module {
        switch self {
        case .relu: ReLU()
        case .relu6: ReLU6()
        case .hardswish: Hardswish()
        case .hardsigmoid: Hardsigmoid()
        case .silu: SiLU()
        case .gelu: GELU()
        case .sigmoid: Sigmoid()
        case .tanh: Tanh()
        }
    }
}
