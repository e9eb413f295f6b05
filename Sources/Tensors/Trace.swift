/// A run of operations on shapes alone: nothing is computed, and what each module and operation would do is noted.
package final class Trace {
    /// The trace that operations of this task go into, if any.
    @TaskLocal private static var active: Box?
    package static var current: Trace? { active?.trace }

    /// Multiply-adds of all operations so far.
    package private(set) var multiplyAdds = 0

    private struct Box: @unchecked Sendable {
        let trace: Trace
    }

    package init() {}

    /// Runs `body` with every operation going into this trace.
    package func capture<R>(_ body: () throws -> R) rethrows -> R {
        try Self.$active.withValue(Box(trace: self), operation: body)
    }

    func record(_ operation: some Operation, _ inputs: [Tensor], outputShape: [Int]) -> Tensor {
        multiplyAdds += operation.multiplyAdds(inputs.map(\.shape), output: outputShape)
        return .symbolic(outputShape)
    }
}

extension Tensor {
    /// A tensor without elements, for traces: only its shape may be used.
    package static func symbolic(_ shape: [Int]) -> Tensor {
        Tensor(shape: shape, storage: .symbolic)
    }
}
