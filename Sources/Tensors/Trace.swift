/// A run of operations on shapes alone: nothing is computed, and what each operation would do is noted.
package final class Trace {
    /// What stands for a value without elements.
    package enum Scope {
        /// Everything, parameters too: only shapes are of interest.
        case everything
        /// What depends on the input; what depends on parameters alone is computed.
        case input
    }

    /// One operation of the run.
    package struct Step {
        package let operation: any Operation
        package let inputs: [Tensor]
        package let output: Tensor
    }

    /// The trace that operations of this task go into, if any.
    @TaskLocal private static var active: Box?
    package static var current: Trace? { active?.trace }

    package let scope: Scope
    /// The operations so far, in the order in which they ran.
    package private(set) var steps: [Step] = []
    /// Multiply-adds of all operations so far.
    package private(set) var multiplyAdds = 0
    private var symbols = 0

    private struct Box: @unchecked Sendable {
        let trace: Trace
    }

    package init(_ scope: Scope) { self.scope = scope }

    /// Runs `body` with every operation going into this trace.
    package func capture<R>(_ body: () throws -> R) rethrows -> R {
        try Self.$active.withValue(Box(trace: self), operation: body)
    }

    /// A tensor without elements that stands for a new value.
    package func symbol(_ shape: [Int]) -> Tensor {
        symbols += 1
        return Tensor(shape: shape, storage: TensorStorage(symbol: symbols - 1))
    }

    func record(_ operation: some Operation, _ inputs: [Tensor], outputShape: [Int]) -> Tensor {
        multiplyAdds += operation.multiplyAdds(inputs.map(\.shape), output: outputShape)
        let output = symbol(outputShape)
        if scope == .input { steps.append(Step(operation: operation, inputs: inputs, output: output)) }
        return output
    }
}

extension Tensor {
    /// The number of the trace's value that this tensor stands for; `nil` if it has elements.
    package var symbol: Int? { storage.symbol }
}
