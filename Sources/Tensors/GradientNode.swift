import Synchronization

/// Maps the gradient of an operation's output to those of its inputs; `nil` for inputs that want none.
package typealias Backward = (Tensor) -> [Tensor?]

/// One step of a computation, kept for the way back.
///
/// Nodes are numbered in the order in which they are made, so that every consumer of a node has a higher number.
final class GradientNode {
    let number: UInt64
    /// The nodes of the operation's inputs; `nil` where no gradient flows.
    var inputs: [GradientNode?]
    /// `nil` once it has run: what it holds is freed at once.
    var backward: Backward?
    /// For an operation that can take the gradient of an activation of its output, so that the two need less memory: the
    /// gradients of the inputs from that.
    var backwardThrough: ((Activation, Tensor) -> [Tensor?])?
    /// For an operation on one input whose gradient can be added to another one as it is computed: adds it.
    var addGradient: ((Tensor, inout Tensor) -> Void)?
    /// For a leaf: takes the finished gradient.
    let accumulate: ((Tensor) -> Void)?

    private static let counter = Atomic<UInt64>(0)

    init(inputs: [GradientNode?], backward: @escaping Backward) {
        self.number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
        self.inputs = inputs
        self.backward = backward
        self.accumulate = nil
    }

    /// A leaf.
    init(accumulate: @escaping (Tensor) -> Void) {
        self.number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
        self.inputs = []
        self.backward = nil
        self.accumulate = accumulate
    }

    /// Takes a long chain apart one node at a time: releasing it recursively would overflow a small stack.
    deinit {
        var pending = inputs
        inputs = []
        while var node = pending.popLast() {
            if node != nil, isKnownUniquelyReferenced(&node) {
                pending.append(contentsOf: node!.inputs)
                node!.inputs = []
            }
        }
    }
}

/// Whether operations remember how to compute gradients.
public enum GradientMode {
    @TaskLocal static var isEnabled = true

    /// Whether operations remember how to compute gradients now.
    public static var isRecording: Bool { isEnabled }

    /// Runs `body` remembering how to compute gradients, also within ``disabled(_:)``.
    package static func enabled<R>(_ body: () -> R) -> R { $isEnabled.withValue(true, operation: body) }

    /// Runs `body` without remembering anything for gradients, as PyTorch's `no_grad`.
    public static func disabled<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        let result: Result<R, E> = $isEnabled.withValue(false) {
            do throws(E) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

extension Tensor {
    /// A tensor of the same elements at which gradients arrive: `receive` is called once in each backward pass that
    /// reaches it.
    public func watched(_ receive: @escaping (Tensor) -> Void) -> Tensor {
        Tensor(shape: shape, storage: storage, node: GradientNode(accumulate: receive))
    }

    /// Computes the gradient of this tensor with respect to every parameter that it was computed from, and adds it to
    /// each parameter's `gradient`. The computation is forgotten on the way: a second call needs a second forward pass.
    ///
    /// - Parameter gradient: the gradient of the final quantity with respect to this tensor; `nil` stands for 1 and is
    ///   allowed for a tensor with one element.
    public func backward(gradient: Tensor? = nil) {
        guard let root = node else {
            preconditionFailure("Tensor.backward: no parameter that wants a gradient leads to this tensor")
        }
        precondition(
            gradient != nil || count == 1, "Tensor.backward: a tensor of shape \(shape) needs an explicit gradient")
        if let gradient {
            precondition(
                gradient.shape == shape, "Tensor.backward: gradient \(gradient.shape) for a tensor \(shape)")
        }
        BlockCache.shared.keepForTraining()
        GradientMode.disabled {
            var pending = PendingGradients()
            pending.add(gradient ?? Tensor(repeating: 1, shape: shape), to: root)
            while let (node, gradient) = pending.popLatest() {
                if let accumulate = node.accumulate {
                    accumulate(gradient)
                    continue
                }
                guard let backward = node.backward else {
                    preconditionFailure("Tensor.backward: this computation was already differentiated once")
                }
                if let addGradient = node.addGradient, let input = node.inputs[0], pending.contains(input) {
                    pending.update(input) { addGradient(gradient, &$0) }
                } else {
                    for (input, gradient) in zip(node.inputs, backward(gradient)) {
                        if let input, let gradient { pending.add(gradient, to: input) }
                    }
                }
                node.backward = nil
                node.backwardThrough = nil
                node.addGradient = nil
                node.inputs = []
            }
        }
    }
}

/// The gradients that wait for their node, the latest node first.
private struct PendingGradients {
    private var gradients: [UInt64: (node: GradientNode, gradient: Tensor)] = [:]
    private var heap: [UInt64] = []

    mutating func add(_ gradient: Tensor, to node: GradientNode) {
        if contains(node) { return update(node) { $0.accumulate(gradient) } }
        gradients[node.number] = (node, gradient)
        heap.append(node.number)
        var child = heap.count - 1
        while child > 0, heap[child] > heap[(child - 1) / 2] {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    func contains(_ node: GradientNode) -> Bool { gradients[node.number] != nil }

    /// Changes the gradient that waits for `node`.
    mutating func update(_ node: GradientNode, _ body: (inout Tensor) -> Void) {
        // Taken out, so that it is referenced from here alone and can be changed in place.
        var present = gradients.removeValue(forKey: node.number)!
        body(&present.gradient)
        gradients[node.number] = present
    }

    mutating func popLatest() -> (GradientNode, Tensor)? {
        guard let latest = heap.first else { return nil }
        heap[0] = heap[heap.count - 1]
        heap.removeLast()
        var parent = 0
        while true {
            var largest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child] > heap[largest] {
                largest = child
            }
            if largest == parent { break }
            heap.swapAt(parent, largest)
            parent = largest
        }
        return gradients.removeValue(forKey: latest)
    }
}
