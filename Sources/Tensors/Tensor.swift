import CKernels

/// A dense, row-major array of float32 elements with a value's semantics: no operation changes a tensor that it is given.
///
/// Images and activations are `[N, H, W, C]`, tokens `[N, L, C]`. A tensor that was computed from parameters that
/// want gradients remembers how; see ``backward(gradient:)``.
public struct Tensor: @unchecked Sendable {
    /// The size of each axis. A scalar's shape is empty.
    public let shape: [Int]
    package private(set) var storage: TensorStorage
    /// How this tensor was computed; `nil` when no gradient flows through it.
    var node: GradientNode?

    init(shape: [Int], storage: TensorStorage, node: GradientNode?) {
        self.shape = shape
        self.storage = storage
        self.node = node
    }

    package init(shape: [Int], storage: TensorStorage) {
        self.init(shape: shape, storage: storage, node: nil)
    }

    /// A tensor whose elements must all be written before they are read.
    package init(uninitialized shape: [Int]) {
        precondition(shape.allSatisfy { $0 >= 0 }, "Tensor: negative size in shape \(shape)")
        self.init(shape: shape, storage: TensorStorage(count: shape.reduce(1, *)))
    }

    /// A tensor of the given elements, in row-major order.
    ///
    /// - Precondition: `scalars.count` is the product of `shape`.
    public init(_ scalars: some Collection<Float>, shape: [Int]) {
        self.init(uninitialized: shape)
        precondition(
            scalars.count == count, "Tensor: \(scalars.count) elements do not fill shape \(shape)")
        _ = UnsafeMutableBufferPointer(start: storage.pointer, count: count).initialize(from: scalars)
    }

    /// A tensor that `body` writes: it gets the memory, not initialized, and must set every element.
    public init<E: Error>(shape: [Int], initializingWith body: (UnsafeMutableBufferPointer<Float>) throws(E) -> Void)
        throws(E)
    {
        self.init(uninitialized: shape)
        try body(UnsafeMutableBufferPointer(start: storage.pointer, count: count))
    }

    /// A scalar: a tensor without axes.
    public init(_ value: Float) {
        self.init(CollectionOfOne(value), shape: [])
    }

    /// A tensor whose elements all equal `value`.
    public init(repeating value: Float, shape: [Int]) {
        self.init(uninitialized: shape)
        storage.pointer.initialize(repeating: value, count: count)
    }

    public static func zeros(_ shape: [Int]) -> Tensor { Tensor(repeating: 0, shape: shape) }
    public static func ones(_ shape: [Int]) -> Tensor { Tensor(repeating: 1, shape: shape) }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }
    /// The number of axes.
    public var rank: Int { shape.count }

    /// The elements in row-major order.
    public var scalars: [Float] { withUnsafeScalars { Array($0) } }

    /// The only element of a tensor with one.
    public var scalar: Float {
        precondition(count == 1, "Tensor.scalar: a tensor of shape \(shape) has \(count) elements")
        return withUnsafeScalars { $0[0] }
    }

    /// Calls `body` with the elements in row-major order.
    public func withUnsafeScalars<R, E: Error>(_ body: (UnsafeBufferPointer<Float>) throws(E) -> R) throws(E) -> R {
        precondition(storage.count == count, "Tensor: a symbolic tensor of shape \(shape) has no elements")
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafeBufferPointer(start: storage.pointer, count: count))
    }

    /// For kernels: valid while the tensor is alive.
    package var pointer: UnsafePointer<Float> { UnsafePointer(storage.pointer) }
    /// For the code that has just made this tensor and writes it.
    package var mutablePointer: UnsafeMutablePointer<Float> { storage.pointer }

    /// The memory for changing this tensor's elements in place: its own if no other tensor shares it, else a copy's,
    /// which is its own from now on. How the tensor was computed is forgotten. Valid while the tensor is alive and not
    /// copied.
    package mutating func uniquePointer() -> UnsafeMutablePointer<Float> {
        precondition(storage.symbol == nil, "Tensor: a symbolic tensor of shape \(shape) has no elements")
        node = nil
        if !storage.isOwned || !isKnownUniquelyReferenced(&storage) {
            let copy = TensorStorage(count: count)
            copy.pointer.update(from: storage.pointer, count: count)
            storage = copy
        }
        storage.willChange()
        return storage.pointer
    }

    /// Adds a tensor of the same shape: in place if nobody else holds this tensor's elements.
    mutating func accumulate(_ other: Tensor) {
        guard storage.isOwned, isKnownUniquelyReferenced(&storage) else {
            self = self + other
            return
        }
        let target = uniquePointer()
        parallelFor(count, grain: elementwiseGrain) { begin, end in
            ck_axpy_f32(1, other.pointer + begin, target + begin, Int64(end - begin))
        }
    }

    /// The same elements without the memory of how they were computed.
    public var detached: Tensor { Tensor(shape: shape, storage: storage) }

    /// Whether a gradient flows through this tensor.
    public var requiresGradient: Bool { node != nil }
}

extension Tensor: CustomStringConvertible {
    public var description: String {
        let shown = withUnsafeScalars { $0.prefix(8).map { "\($0)" }.joined(separator: ", ") }
        return "Tensor(shape: \(shape), [\(shown)\(count > 8 ? ", …" : "")])"
    }
}
