import Synchronization
import Tensors

/// How a tensor in memory relates to the same tensor in a state dict, where PyTorch's order of axes rules.
public enum StateLayout: Sendable {
    /// The same order.
    case same
    /// Memory `[O, kH, kW, I]`, state dict `[O, I, kH, kW]`.
    case convolution

    /// The shape in a state dict.
    public func stateShape(_ shape: [Int]) -> [Int] {
        self == .convolution ? [shape[0], shape[3], shape[1], shape[2]] : shape
    }

    /// The tensor in a state dict's order.
    public func toState(_ tensor: Tensor) -> Tensor {
        self == .convolution ? tensor.permuted([0, 3, 1, 2]) : tensor
    }

    /// The tensor in memory's order.
    public func fromState(_ tensor: Tensor) -> Tensor {
        self == .convolution ? tensor.permuted([0, 2, 3, 1]) : tensor
    }
}

/// A tensor that training changes. Its first values are computed when they are first read, so that a model that is
/// built only to be loaded, counted or printed costs next to nothing.
public final class Parameter: @unchecked Sendable {
    /// The name in the module's state dict; `nil` stands for the name of the property that holds the parameter.
    let key: String?
    /// The shape in memory.
    public let shape: [Int]
    public let layout: StateLayout
    /// Whether operations on ``value`` remember how to compute its gradient.
    public var requiresGradient = true {
        didSet { if requiresGradient != oldValue { ModuleVersion.change() } }
    }
    /// The sum of the gradients of all backward passes since it was last set to `nil`; in memory's layout.
    public var gradient: Tensor?

    private struct State {
        /// What the first values are computed from, until they are.
        var recipe: (initializer: Initializer, seed: UInt64)?
        var tensor: Tensor?
    }
    private let state: Mutex<State>
    /// Another number after each change.
    let version = Version()

    /// - Parameters:
    ///   - key: the name in the state dict, if it is not that of the property.
    ///   - shape: the shape in memory.
    ///   - initializer: computes the first values, from a seed that is drawn now.
    public init(
        key: String? = nil, shape: [Int], layout: StateLayout = .same, initializer: Initializer
    ) {
        self.key = key
        self.shape = shape
        self.layout = layout
        self.state = Mutex(State(recipe: (initializer, RandomStream.current.withSource { $0.next() })))
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }

    /// The shape in a state dict.
    public var stateShape: [Int] { layout.stateShape(shape) }

    /// The tensor. While ``requiresGradient`` is set, what is computed from it leads back here.
    ///
    /// - Precondition: a new value has the same shape.
    public var value: Tensor {
        get {
            if let trace = Trace.current, trace.scope == .everything { return trace.symbol(shape) }
            let tensor = data
            return requiresGradient && GradientMode.isRecording ? tensor.watched { self.accumulate($0) } : tensor
        }
        set { data = newValue }
    }

    /// The tensor without memory of gradients.
    public var data: Tensor {
        get {
            state.withLock { state in
                realize(&state)
                return state.tensor!
            }
        }
        set {
            precondition(newValue.shape == shape, "Parameter: a value of shape \(newValue.shape) for \(shape)")
            state.withLock { $0 = State(tensor: newValue.detached) }
            version.change()
        }
    }

    /// Changes ``data`` where it lies, if nobody else holds it, and else a copy of it; see `Tensor.uniquePointer()`.
    ///
    /// - Precondition: the shape stays.
    package func mutate(_ body: (inout Tensor) -> Void) {
        state.withLock { state in
            realize(&state)
            body(&state.tensor!)
            precondition(state.tensor!.shape == shape, "Parameter: a value of another shape than \(shape)")
        }
        version.change()
    }

    /// Whether the elements are in memory; if they are not, whoever reads them waits for them to be computed.
    package var isResident: Bool { state.withLock { $0.tensor?.storage.isResident ?? false } }

    /// The number of the elements, see `TensorStorage.contents`; `nil` while they have not been computed.
    var contents: UInt64? { state.withLock { $0.tensor?.storage.contents } }

    /// Holds the elements in another way from now on: in the tensor that `body` makes of the present one, which has the same
    /// elements. That is no change.
    func hold(in body: (Tensor) -> Tensor?) {
        state.withLock { state in
            if let tensor = state.tensor, let other = body(tensor) { state.tensor = other }
        }
    }

    /// Computes the first values, if they are not there yet.
    private func realize(_ state: inout State) {
        guard let recipe = state.recipe else { return }
        state = State(tensor: recipe.initializer.tensor(shape: shape, fans: fans, seed: recipe.seed))
    }

    /// Draws new first values from the given recipe.
    public func initialize(_ initializer: Initializer) {
        let seed = RandomStream.current.withSource { $0.next() }
        state.withLock { $0 = State(recipe: (initializer, seed)) }
        version.change()
    }

    /// (inputs of one output, outputs of one input), as `torch.nn.init` counts them.
    private var fans: (in: Int, out: Int) {
        let shape = stateShape
        guard shape.count >= 2 else { return (shape.first ?? 1, shape.first ?? 1) }
        let field = shape.dropFirst(2).reduce(1, *)
        return (shape[1] * field, shape[0] * field)
    }

    private func accumulate(_ gradient: Tensor) {
        self.gradient = self.gradient.map { $0 + gradient } ?? gradient
    }
}

/// A tensor that is part of a module's state but not trained: running statistics.
public final class Buffer: @unchecked Sendable {
    let key: String?
    public let shape: [Int]
    private let state: Mutex<Tensor>
    let version = Version()

    public init(key: String? = nil, _ initial: Tensor) {
        self.key = key
        self.shape = initial.shape
        self.state = Mutex(initial)
    }

    /// - Precondition: a new value has the same shape.
    public var value: Tensor {
        get {
            if let trace = Trace.current, trace.scope == .everything { return trace.symbol(shape) }
            return state.withLock { $0 }
        }
        set {
            precondition(newValue.shape == shape, "Buffer: a value of shape \(newValue.shape) for \(shape)")
            state.withLock { $0 = newValue.detached }
            version.change()
        }
    }
}

/// Integers that are part of a module's state: counters, index tables.
public final class IntegerBuffer: @unchecked Sendable {
    let key: String?
    public let shape: [Int]
    private let state: Mutex<[Int64]>
    let version = Version()

    public init(key: String? = nil, _ initial: [Int64], shape: [Int]) {
        precondition(initial.count == shape.reduce(1, *), "IntegerBuffer: \(initial.count) values for shape \(shape)")
        self.key = key
        self.shape = shape
        self.state = Mutex(initial)
    }

    /// - Precondition: a new value has the same number of elements.
    public var values: [Int64] {
        get { state.withLock { $0 } }
        set {
            precondition(newValue.count == shape.reduce(1, *), "IntegerBuffer: \(newValue.count) values for \(shape)")
            state.withLock { $0 = newValue }
            version.change()
        }
    }
}
