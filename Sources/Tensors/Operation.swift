/// A differentiable function of tensors: what runs eagerly, what the tape records and what a trace captures.
package protocol Operation: Sendable {
    /// The operation's name in traces and messages.
    var name: String { get }

    /// The output's shape; checks the inputs' shapes.
    func outputShape(_ inputs: [[Int]]) -> [Int]

    /// The multiply-adds of one evaluation; 0 for what is not a product of matrices or a convolution.
    func multiplyAdds(_ inputs: [[Int]], output: [Int]) -> Int

    /// Computes the output of the given shape and, if any of `needs` is true, the way back to those inputs.
    func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?)
}

extension Operation {
    package func multiplyAdds(_ inputs: [[Int]], output: [Int]) -> Int { 0 }
}

/// Runs an operation: eagerly, recording it for gradients where they are wanted, or into the trace that is under way.
package func apply(_ operation: some Operation, _ inputs: Tensor...) -> Tensor {
    applyVariadic(operation, inputs)
}

/// The same for an operation on any number of tensors.
package func applyVariadic(_ operation: some Operation, _ inputs: [Tensor]) -> Tensor {
    let shapes = inputs.map(\.shape)
    let outputShape = operation.outputShape(shapes)
    if let trace = Trace.current, inputs.contains(where: { $0.symbol != nil }) {
        return trace.record(operation, inputs, outputShape: outputShape)
    }
    let needs = inputs.map { $0.node != nil }
    guard needs.contains(true), GradientMode.isEnabled else {
        return operation.evaluate(inputs, outputShape: outputShape, needs: inputs.map { _ in false }).0
    }
    // The backward closure must not hold the inputs' own history.
    var (output, backward) = operation.evaluate(inputs.map(\.detached), outputShape: outputShape, needs: needs)
    guard let backward else { preconditionFailure("\(operation.name) has no gradient") }
    output.node = GradientNode(inputs: inputs.map(\.node), backward: backward)
    return output
}
