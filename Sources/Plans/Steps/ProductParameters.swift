import CKernels
import Tensors

/// The operands of a product beside what it reads and makes.
struct ProductParameters: Sendable {
    var weights: PackedWeights
    private let bias: Constants<Float>?
    private let scale: Constants<Float>?
    private let shift: Constants<Float>?
    private let imageScale: Operand?
    private let inputRows: Constants<Int32>?
    private let outputRows: Constants<Int32>?
    private let padding: Constants<Float>?

    init(_ product: Product, _ node: Graph.Node, _ layout: MemoryLayout, _ weights: PackedWeights) {
        self.weights = weights
        bias = product.weights.bias.map(Constants.init)
        var imageScale: Operand?
        switch product.prologue {
        case .none: (scale, shift) = (nil, nil)
        case .affine(let affine): (scale, shift) = (Constants(affine.scale), Constants(affine.shift))
        case .layerNorm(let scale, let shift, _): (self.scale, self.shift) = (Constants(scale), Constants(shift))
        case .imageScale:
            (scale, shift) = (nil, nil)
            imageScale = Operand(node.inputs.last!, layout)
        }
        self.imageScale = imageScale
        inputRows = product.inputRows.map(Constants.init)
        outputRows = product.outputRows.map(Constants.init)
        padding = product.padding.map(Constants.init)
    }

    /// Whether they serve all images of a group: an order of rows is one image's, and scales are read one image's behind the
    /// other's.
    var suitGroups: Bool {
        inputRows == nil && outputRows == nil && imageScale.map { $0.groupRowStride == $0.width } ?? true
    }

    /// What kernels read and write, which is there as long as this is.
    func operands(
        _ execution: Execution, x: UnsafePointer<Float>, y: UnsafeMutablePointer<Float>,
        residual: UnsafeMutablePointer<Float>?
    ) -> (ck_operands, ck_packed_extras) {
        let scale = imageScale.map { UnsafePointer(execution.pointer($0.location)) } ?? scale?.pointer
        return (
            ck_operands(
                x: x, weight: weights.pointer, bias: bias?.pointer, residual: UnsafePointer(residual), y: y),
            ck_packed_extras(
                scale: scale, shift: shift?.pointer, x_rows: inputRows?.pointer, y_rows: outputRows?.pointer,
                padding: padding?.pointer, kept: nil)
        )
    }
}

/// Elements that stay in one place.
private final class Constants<Element: BitwiseCopyable & Sendable>: Sendable {
    nonisolated(unsafe) let pointer: UnsafePointer<Element>

    init(_ elements: [Element]) {
        let memory = UnsafeMutablePointer<Element>.allocate(capacity: max(1, elements.count))
        memory.initialize(from: elements, count: elements.count)
        pointer = UnsafePointer(memory)
    }

    deinit { pointer.deallocate() }
}
