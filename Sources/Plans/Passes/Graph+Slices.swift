import Tensors

extension Graph {
    /// Takes slices of tokens as early as possible: where only some rows of a result are read (a class token's), the
    /// other rows need not be computed.
    func takeSlicesEarly() {
        var moved = true
        while moved {
            moved = false
            for node in nodes where !node.isRemoved {
                guard let slice = node.operation(as: SliceOperation.self), slice.axis == 1,
                    slice.range.count < node.inputs[0].shape[1], node.output.shape.count == 3,
                    let producer = exclusiveProducer(of: node.inputs[0], for: node),
                    case .operation(let operation) = producer.kind, operation.treatsRowsAlike,
                    producer.inputs.allSatisfy({ canSlice($0, producer.output.shape) })
                else { continue }
                // The node becomes the operation, on slices that take its place before it.
                let inputs = producer.inputs.map { input in
                    input.shape.count == 3 && input.shape[1] == producer.output.shape[1]
                        ? insert(.operation(slice), [input], shape: slice.outputShape([input.shape]), before: node)
                        : input
                }
                node.kind = producer.kind
                node.setInputs(inputs)
                remove(producer)
                moved = true
            }
        }
        removeUnused()
    }

    /// Whether an operand has the rows that are sliced, or is the same for every row.
    private func canSlice(_ value: Value, _ shape: [Int]) -> Bool {
        if value.constant == nil { return value.shape.count == 3 && value.shape[1] == shape[1] }
        return value.shape.count < 3 || value.shape[1] == 1
    }
}

extension Operation {
    /// Whether each row of a `[N, L, C]` output depends on the same row of the inputs alone.
    fileprivate var treatsRowsAlike: Bool {
        self is LinearOperation || self is LayerNormOperation || self is ActivationOperation
            || self is BinaryOperation || self is AffineOperation
    }
}
