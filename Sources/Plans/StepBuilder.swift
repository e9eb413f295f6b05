import CKernels
import Tensors

/// Chooses a step for each node of a graph.
struct StepBuilder {
    private(set) var steps: [any Step] = []
    private(set) var descriptions: [StepDescription] = []
    private let layout: MemoryLayout
    private let threads: Int
    private let cache: PackedWeightCache

    init(layout: MemoryLayout, threads: Int, cache: PackedWeightCache) {
        self.layout = layout
        self.threads = threads
        self.cache = cache
    }

    mutating func append(_ node: Graph.Node) {
        if node.viewedInput != nil { return }
        if let parts = node.concatenatedParts {
            for (value, offset) in parts { appendCopy(of: value, to: node.output, offset: offset) }
            return
        }
        let step: any Step
        switch node.kind {
        case .product(let product): step = productStep(product, node)
        case .channelAffine(let affine): step = affineStep(affine, node)
        case .meanOfSums(let pixels):
            step = MeanStep(
                sums: Operand(node.inputs[0], layout), mean: Operand(node.output, layout), pixels: pixels)
        case .operation(let operation): step = operationStep(operation, node)
        }
        append(step, node.output)
    }

    /// Copies the graph's output to where callers want it, if no step has written it there.
    mutating func finish(_ graph: Graph) {
        if case .output = layout.place(of: graph.output).location { return }
        let from = Operand(graph.output, layout)
        append(CopyStep(from: from, to: from.placed(at: .output(offset: 0), rowStride: from.width)), graph.output)
    }

    private mutating func append(_ step: any Step, _ output: Graph.Value) {
        steps.append(step)
        descriptions.append(
            StepDescription(
                kernel: step.kernel, detail: step.detail, outputShape: output.shape,
                place: layout.place(of: output).location.summary, multiplyAdds: step.multiplyAdds))
    }

    private mutating func appendCopy(of part: Graph.Value, to whole: Graph.Value, offset: Int) {
        let from = Operand(part, layout)
        let target = layout.place(of: whole)
        let location = target.location.advanced(by: offset)
        if location == from.location { return }
        append(CopyStep(from: from, to: from.placed(at: location, rowStride: target.rowStride)), part)
    }

    // MARK: Products

    private func productStep(_ product: Product, _ node: Graph.Node) -> any Step {
        let shape = product.shape(Operand(node.inputs[0], layout), Operand(node.output, layout))
        if product.isDepthwise {
            return ProductStep<ck_depthwise_conv>(product, node, layout, threads: threads, cache: cache)
        }
        let isPlain = product.combine != .interleave && product.padding == nil
        if isPlain, withUnsafePointer(to: shape, { ck_winograd_suits($0) }) {
            return ProductStep<ck_winograd_conv>(product, node, layout, threads: threads, cache: cache)
        }
        if isPlain, withUnsafePointer(to: shape, { ck_grouped_suits($0) }) {
            return ProductStep<ck_grouped_conv>(product, node, layout, threads: threads, cache: cache)
        }
        return ProductStep<ck_packed_conv>(
            product, node, layout, threads: threads, cache: cache, configure: product.configure)
    }

    // MARK: The others

    private func affineStep(_ affine: ChannelAffine, _ node: Graph.Node) -> any Step {
        let (scale, shift, activation) = (affine.scale, affine.shift, affine.hasReLU ? CK_RELU : CK_IDENTITY)
        return RowStep(
            kernel: affine.hasReLU ? "affine_relu" : "affine", from: Operand(node.inputs[0], layout),
            to: Operand(node.output, layout)
        ) { x, y, rows in ck_channel_affine_f32(x, scale, shift, activation, rows, Int64(scale.count), y) }
    }

    private func operationStep(_ operation: any Operation, _ node: Graph.Node) -> any Step {
        switch operation {
        case let pool as MaxPool2dOperation:
            return PoolStep(.max, pool.geometry, countsPadding: false, node, layout)
        case let pool as AvgPool2dOperation:
            return PoolStep(.average, pool.geometry, countsPadding: pool.countsPadding, node, layout)
        case is AdaptiveAvgPool2dOperation:
            return PoolStep(.adaptiveAverage, Pool2dGeometry(kernel: 1), countsPadding: false, node, layout)
        case let norm as LayerNormOperation:
            if let step = layerNormStep(norm, node) { return step }
        case let activation as ActivationOperation:
            let (kernel, width) = (activation.activation.kernel, Int64(node.output.width))
            return RowStep(
                kernel: activation.name, from: Operand(node.inputs[0], layout), to: Operand(node.output, layout)
            ) { x, y, rows in ck_activation_forward_f32(kernel, x, y, rows * width) }
        case let binary as BinaryOperation:
            if let step = binaryStep(binary, node) { return step }
        case let gather as GatherRowsOperation:
            return GatherStep(
                sources: gather.gather.sources, from: Operand(node.inputs[0], layout),
                to: Operand(node.output, layout))
        case let attention as AttentionOperation:
            if let step = AttentionStep(attention, node, layout, threads: threads) { return step }
        default: break
        }
        return OperationStep(operation, node, layout)
    }

    private func layerNormStep(_ norm: LayerNormOperation, _ node: Graph.Node) -> (any Step)? {
        guard let scale = node.inputs[1].constant?.scalars, let shift = node.inputs[2].constant?.scalars else {
            return nil
        }
        let eps = norm.eps
        return RowStep(kernel: norm.name, from: Operand(node.inputs[0], layout), to: Operand(node.output, layout)) {
            ck_layer_norm_forward_f32($0, scale, shift, eps, $2, Int64(scale.count), $1, nil, nil)
        }
    }

    private func binaryStep(_ binary: BinaryOperation, _ node: Graph.Node) -> (any Step)? {
        let (a, b, y) = (node.inputs[0], node.inputs[1], node.output)
        guard a.shape == y.shape, b.shape == y.shape || (b.rows == 1 && b.width == y.width), y.rows > 1 else {
            return nil
        }
        return BinaryStep(
            kernel: binary.name, operation: binary.kernel, a: Operand(a, layout), b: Operand(b, layout),
            y: Operand(y, layout))
    }
}

extension Graph {
    /// The first of the nodes at the end that run on a whole batch at once: from a Linear with many weights on, if all
    /// that follows works on one row for each image. The number of nodes, if there are none.
    var firstBatchNode: Int {
        let tail = nodes.reversed().prefix { $0.hasOneRow }.count
        let heavy = nodes[(nodes.count - tail)...].firstIndex { node in
            (node.product?.weights.base.count ?? 0) >= 1 << 20
        }
        return heavy ?? nodes.count
    }
}

extension Graph.Node {
    /// Whether the node makes one row from one row, so that a batch's rows can be computed together.
    fileprivate var hasOneRow: Bool {
        guard output.shape.count == 2, output.shape[0] == 1 else { return false }
        switch kind {
        case .product(let product):
            guard case .none = product.prologue else { return false }
            return product.isPointwise && inputs.allSatisfy { $0.shape == [1, $0.width] } && product.inputRows == nil
                && product.outputRows == nil
        case .operation(let operation):
            guard operation is NormOperation || operation is BinaryOperation || operation is ActivationOperation
            else { return false }
            return inputs.allSatisfy { $0.constant == nil && $0.shape.count == 2 && $0.shape[0] == 1 }
        case .channelAffine, .meanOfSums: return false
        }
    }
}
