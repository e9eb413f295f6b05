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

    /// Appends the step of nodes that are computed in bands.
    mutating func append(_ band: [Graph.Node]) {
        let step = BandStep(band, layout, threads: threads) { node, strides, rows in
            let product = node.product!
            if product.isDepthwise {
                return ProductBandStage<ck_depthwise_conv>(product, node, layout, strides, rows: rows, cache: cache)
            }
            if product.suitsGrouped(node) {
                return ProductBandStage<ck_grouped_conv>(product, node, layout, strides, rows: rows, cache: cache)
            }
            return ProductBandStage<ck_packed_conv>(
                product, node, layout, strides, rows: rows, cache: cache
            ) {
                product.configure(&$0)
                // A band has too few rows for AMX, but may have enough for it to be chosen.
                if ck_level_current() == CK_LEVEL_AMX { $0.weight_layout = CK_WEIGHTS_VECTORS }
            }
        }
        append(step, band.last!.output)
    }

    private func productStep(_ product: Product, _ node: Graph.Node) -> any Step {
        let shape = product.shape(Operand(node.inputs[0], layout), Operand(node.output, layout))
        if product.isDepthwise {
            return ProductStep<ck_depthwise_conv>(product, node, layout, threads: threads, cache: cache)
        }
        if product.suitsGrouped(node) {
            return ProductStep<ck_grouped_conv>(product, node, layout, threads: threads, cache: cache)
        }
        let isPlain = product.combine != .interleave && product.padding == nil
        if isPlain, withUnsafePointer(to: shape, { ck_winograd_suits($0) }) {
            return ProductStep<ck_winograd_conv>(product, node, layout, threads: threads, cache: cache)
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
        case is NormOperation:
            let width = Int64(node.inputs[0].width)
            return RowStep(
                kernel: operation.name, from: Operand(node.inputs[0], layout), to: Operand(node.output, layout)
            ) { x, y, rows in ck_norm_rows_f32(x, rows, width, y) }
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
        let isRow = b.rows == 1 && b.width == y.width, isColumn = b.rows == y.rows && b.width == 1
        guard a.shape == y.shape, b.shape == y.shape || isRow || isColumn else { return nil }
        return BinaryStep(
            kernel: binary.name, operation: binary.kernel, a: Operand(a, layout), b: Operand(b, layout),
            y: Operand(y, layout))
    }
}

extension Graph {
    /// The first of the nodes at the end that run on groups of images, and how many times as many weights as elements of their
    /// values they have.
    ///
    /// Weights that are read once for a group save as many reads as there are; values of all its images cost some, since they
    /// are further away than one image's would be. With a factor of 1, 2 and 4 for those, batches of 8 took about the same
    /// time at 96 x 96 pixels, and the least with 2 at 224 x 224. The number of nodes, if it is never worth it.
    var groupedNodes: (first: Int, ratio: Double) {
        var weights = 0, values = 0
        var best = (gain: 0, first: nodes.count, ratio: 0.0)
        for (index, node) in nodes.enumerated().reversed() {
            weights += node.sharedWeights
            values += node.inputs.filter { $0.constant == nil }.map(\.count).reduce(node.output.count, +)
            let gain = weights - 2 * values
            if gain > best.gain { best = (gain, index, Double(weights) / Double(values)) }
        }
        return (best.first, best.ratio)
    }
}

extension Graph.Node {
    /// Weights that a group of images can share.
    fileprivate var sharedWeights: Int {
        guard let product, product.inputRows == nil, product.outputRows == nil, !product.isDepthwise else { return 0 }
        return product.weights.base.count
    }
}
