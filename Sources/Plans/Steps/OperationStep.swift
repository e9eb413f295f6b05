import CKernels
import Tensors

/// An operation that has no kernel of its own in plans: evaluated as in training, on tensors over the plan's memory.
struct OperationStep: Step {
    var kernel: String { operation.name }
    let scratchSize = 0
    let multiplyAdds: Int
    private let operation: any Operation
    private let inputs: [Operand]
    private let output: Operand
    /// So many images at once.
    private var images = 1

    init(_ operation: any Operation, _ node: Graph.Node, _ layout: MemoryLayout) {
        self.operation = operation
        inputs = node.inputs.map { Operand($0, layout) }
        output = Operand(node.output, layout)
        multiplyAdds = operation.multiplyAdds(node.inputs.map(\.shape), output: node.output.shape)
    }

    func run(_ execution: Execution) {
        let tensors = inputs.map { $0.tensor(execution, images: images) }
        let shape = operation.outputShape(tensors.map(\.shape))
        let result = operation.evaluate(tensors, outputShape: shape, needs: tensors.map { _ in false }).0
        output.write(result, execution, images: images)
    }

    func onGroup(of images: Int, threads: Int) -> (any Step)? {
        guard operation is BinaryOperation || operation is ActivationOperation,
            output.isOneRow, inputs.allSatisfy(\.isOneRow)
        else { return nil }
        var step = self
        step.images = images
        return step
    }
}

extension Operand {
    /// Whether an image has one row of it, so that a group of images has a matrix.
    fileprivate var isOneRow: Bool {
        if case .constant = location { return false }
        return shape.count == 2 && shape[0] == 1
    }

    /// The value as a tensor, over the plan's memory where it lies dense there.
    fileprivate func tensor(_ execution: Execution, images: Int) -> Tensor {
        if case .constant(let tensor) = location { return tensor }
        let source = execution.pointer(location)
        let shape = images == 1 ? shape : [shape[0] * images] + shape.dropFirst()
        if images == 1 ? isDense : isDense && imageStride == count {
            return Tensor(shape: shape, storage: TensorStorage(borrowing: source, count: count * images))
        }
        return Tensor(shape: shape) { target in
            for image in 0..<images {
                for row in 0..<rows {
                    (target.baseAddress! + (image * rows + row) * width).initialize(
                        from: source + image * imageStride + row * rowStride, count: width)
                }
            }
        }
    }

    fileprivate func write(_ tensor: Tensor, _ execution: Execution, images: Int) {
        let target = execution.pointer(location)
        for image in 0..<images {
            let source = tensor.pointer + image * count
            if isDense {
                (target + image * imageStride).update(from: source, count: count)
                continue
            }
            for row in 0..<rows {
                (target + image * imageStride + row * rowStride).update(from: source + row * width, count: width)
            }
        }
    }
}
