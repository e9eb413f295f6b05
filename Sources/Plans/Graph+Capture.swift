import Tensors

extension Graph {
    /// The computation of `forward` for one image; `nil` where images of a batch depend on each other, or on the
    /// batch's size.
    ///
    /// - Parameter imageShape: the input's shape without the batch axis.
    static func capture(imageShape: [Int], _ forward: (Tensor) -> Tensor) -> Graph? {
        let one = record(batch: 1, imageShape, forward), two = record(batch: 2, imageShape, forward)
        guard one.treatsImagesAlike(as: two) else { return nil }
        let graph = Graph(inputShape: [1] + imageShape)
        var values: [Int: Value] = [one.input: graph.input]
        var constants: [ObjectIdentifier: Value] = [:]
        func value(_ tensor: Tensor) -> Value {
            if let symbol = tensor.symbol { return values[symbol]! }
            let key = ObjectIdentifier(tensor.storage)
            if let known = constants[key], known.shape == tensor.shape { return known }
            let constant = graph.makeValue(shape: tensor.shape, constant: tensor)
            constants[key] = constant
            return constant
        }
        for step in one.steps {
            values[step.output.symbol!] = graph.append(
                .operation(step.operation), step.inputs.map(value), shape: step.output.shape)
        }
        graph.setOutput(value(one.output))
        graph.removeUnused()
        return graph
    }

    private static func record(batch: Int, _ imageShape: [Int], _ forward: (Tensor) -> Tensor) -> Recording {
        let trace = Trace(.input)
        let input = trace.symbol([batch] + imageShape)
        let output = GradientMode.disabled { trace.capture { forward(input) } }
        return Recording(input: input.symbol!, steps: trace.steps, output: output)
    }
}

/// One run on shapes.
private struct Recording {
    let input: Int
    let steps: [Trace.Step]
    let output: Tensor

    /// Whether a run over two images does with each what this run over one image does: every value's first axis is
    /// twice as long, outermost in memory, and no operation mixes along it.
    func treatsImagesAlike(as two: Recording) -> Bool {
        guard output.symbol != nil, steps.count == two.steps.count, doubles(output, two.output) else { return false }
        return zip(steps, two.steps).allSatisfy { a, b in
            type(of: a.operation) == type(of: b.operation) && a.inputs.count == b.inputs.count
                && a.output.symbol == b.output.symbol && doubles(a.output, b.output)
                && zip(a.inputs, b.inputs).allSatisfy { x, y in
                    x.symbol == y.symbol && (x.symbol == nil ? isSame(x, y) : doubles(x, y))
                } && a.keepsImagesApart && a.hasSameSettings(as: b)
        }
    }

    /// Whether a constant is the same in both runs, or in the second once for each image.
    private func isSame(_ a: Tensor, _ b: Tensor) -> Bool {
        if a.storage === b.storage { return a.shape == b.shape }
        guard a.shape == b.shape || doubles(a, b) else { return false }
        return a.withUnsafeScalars { x in
            b.withUnsafeScalars { y in y.indices.allSatisfy { y[$0] == x[$0 % x.count] || y[$0].isNaN } }
        }
    }

    private func doubles(_ a: Tensor, _ b: Tensor) -> Bool {
        guard let first = a.shape.first else { return false }
        return b.shape == [2 * first] + a.shape.dropFirst()
    }
}

extension Trace.Step {
    /// Whether an operation with numbers of its own has the same ones in another run: they may come from the batch's
    /// size.
    fileprivate func hasSameSettings(as other: Trace.Step) -> Bool {
        switch (operation, other.operation) {
        case (let a as AffineOperation, let b as AffineOperation): a.scale == b.scale && a.shift == b.shift
        case (let a as ClampOperation, let b as ClampOperation): a.low == b.low && a.high == b.high
        default: true
        }
    }

    /// Whether no element of the output depends on elements of different images, given that the images lie one after the
    /// other along the first axis of every value.
    fileprivate var keepsImagesApart: Bool {
        switch operation {
        case let permute as PermuteOperation: permute.axes.first == 0
        case let slice as SliceOperation: slice.axis > 0
        case let concatenate as ConcatenateOperation:
            concatenate.axis > 0 && inputs.allSatisfy { $0.symbol != nil || $0.shape.first == inputs[0].shape.first }
        case let sum as SumOperation: !sum.axes.contains(0)
        case is SoftmaxOperation, is NormOperation, is LayerNormOperation: inputs[0].rank > 1
        case is BinaryOperation:
            // A constant may not have a batch axis of its own that is longer than 1.
            inputs.allSatisfy {
                $0.symbol != nil ? $0.rank == output.rank : $0.rank < output.rank || $0.shape.first == 1
            }
        case is Conv2dOperation, is LinearOperation, is BatchNormInferenceOperation, is AffineOperation,
            is UnaryOperation, is ActivationOperation, is ClampOperation, is ReshapeOperation, is MaxPool2dOperation,
            is AvgPool2dOperation, is AdaptiveAvgPool2dOperation, is AttentionOperation, is GatherRowsOperation:
            inputs.dropFirst().allSatisfy { $0.symbol == nil }
        default: false
        }
    }
}
