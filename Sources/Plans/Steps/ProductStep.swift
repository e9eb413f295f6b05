import CKernels
import Tensors

/// A convolution or a Linear with packed weights.
struct ProductStep<Kernel: ProductKernel>: Step {
    var kernel: String { parallel.algorithm }
    var serialKernel: String { serial.algorithm }
    let multiplyAdds: Int
    let detail: String
    private let x: Operand
    private let y: Operand
    private let residual: Operand?
    /// Where the sums over the pixels go: one row for each thread.
    private let sums: Operand?
    private let parameters: ProductParameters
    /// Prepared for all of the engine's threads, and for one.
    private let parallel: Kernel
    private let serial: Kernel
    /// Whether both have the same layout of weights: `parameters` has those of `parallel`.
    private let sharesWeights: Bool

    /// - Parameter configure: sets what only this kernel has.
    init(
        _ product: Product, _ node: Graph.Node, _ layout: MemoryLayout, threads: Int, cache: PackedWeightCache,
        configure: (inout Kernel) -> Void = { _ in }
    ) {
        x = Operand(node.inputs[0], layout)
        y = Operand(node.output, layout)
        residual = product.hasResidual ? Operand(node.inputs[1], layout) : nil
        sums = node.sums.map { Operand($0, layout) }
        let shape = product.shape(x, y)
        let strides = ck_strides(
            x: Int64(x.rowStride), y: Int64(y.rowStride), residual: Int64(residual?.rowStride ?? 0))
        var kernel = Kernel(shape, strides, product.epilogue)
        configure(&kernel)
        parallel = kernel.prepared(threads: threads)
        serial = kernel.prepared(threads: 1)
        sharesWeights = serial.layout == parallel.layout
        parameters = ProductParameters(product, node, layout, cache.weights(product, parallel))
        detail = product.summary
        multiplyAdds = product.multiplyAdds(rows: Int(shape.oh * shape.ow))
    }

    var scratchSize: Int { Int(max(parallel.scratch, serial.scratch)) }

    func run(_ execution: Execution) {
        // Waking another thread takes longer than some tens of thousands of multiply-adds.
        if execution.isParallel && multiplyAdds > 1 << 15 {
            run(execution, parallel, parameters)
        } else {
            run(execution, serial, sharesWeights ? parameters : repacked(for: serial))
        }
    }

    /// The parameters with weights for a kernel of another layout than that of `parallel`.
    private func repacked(for kernel: Kernel) -> ProductParameters {
        var other = parameters
        other.weights = parameters.weights.repacked(from: parallel, for: kernel)
        return other
    }

    func onGroup(of images: Int, threads: Int) -> (any Step)? {
        guard sums == nil, parameters.suitGroups, let xStride = x.groupRowStride, let yStride = y.groupRowStride,
            let residualStride = residual.map(\.groupRowStride) ?? 0
        else { return nil }
        let strides = ck_strides(x: Int64(xStride), y: Int64(yStride), residual: Int64(residualStride))
        guard let kernel = serial.onGroup(of: images, strides, threads: threads) else { return nil }
        return ProductStep(self, kernel, images: images, threads: threads)
    }

    /// Another step with a kernel for a group of images.
    private init(_ one: ProductStep, _ kernel: Kernel, images: Int, threads: Int) {
        (x, y, residual, sums) = (one.x, one.y, one.residual, nil)
        detail = one.detail
        multiplyAdds = one.multiplyAdds * images
        parallel = kernel.prepared(threads: threads)
        serial = kernel.sharingWeights(with: parallel).prepared(threads: 1)
        sharesWeights = true
        parameters = parallel.layout == one.parallel.layout ? one.parameters : one.repacked(for: parallel)
    }

    private func run(_ execution: Execution, _ kernel: Kernel, _ parameters: ProductParameters) {
        let sums = sums.map { execution.pointer($0.location) }
        if let sums { sums.update(repeating: 0, count: execution.isParallel ? self.sums!.count : y.width) }
        let (operands, packed) = parameters.operands(
            execution, x: execution.pointer(x.location), y: execution.pointer(y.location),
            residual: residual.map { execution.pointer($0.location) })
        if let sums {
            // Added up by each thread: always by the same one, so that the result is the same to the bit.
            execution.forEachPart(kernel.units) { begin, end, part in
                let extras = ProductExtras(packed: packed, sums: sums + part * y.width)
                kernel.run(operands, extras, begin, end, execution.scratch(ofPart: part))
            }
            return
        }
        execution.forEachShare(kernel.units) { units, part in
            var kept = ck_packed_kept()
            withUnsafeMutablePointer(to: &kept) { kept in
                var extras = ProductExtras(packed: packed)
                extras.packed.kept = kept
                while let (begin, end) = units.next() {
                    kernel.run(operands, extras, begin, end, execution.scratch(ofPart: part))
                }
            }
        }
    }
}

extension Product {
    /// The shape for one image; a pointwise product's rows form one line of pixels.
    func shape(_ x: Operand, _ y: Operand) -> ck_conv2d_shape {
        guard isPointwise else { return geometry.shape(input: x.shape, output: y.shape) }
        let width = combine == .interleave ? y.width / 2 : y.width
        let rows = inputRows?.count ?? x.rows
        return geometry.shape(input: [1, 1, rows, x.width], output: [1, 1, rows, width])
    }

    /// Whether the kernel for small groups is the one for this product, which is the node's.
    func suitsGrouped(_ node: Graph.Node) -> Bool {
        guard geometry.groups > 1, combine != .interleave, padding == nil else { return false }
        let shape = geometry.shape(input: node.inputs[0].shape, output: node.output.shape)
        return withUnsafePointer(to: shape) { ck_grouped_suits($0) }
    }

    var epilogue: ck_epilogue {
        ck_epilogue(activation: activation?.kernel ?? CK_IDENTITY, combine: combine.kernel)
    }

    /// Sets what only packed convolutions have.
    func configure(_ conv: inout ck_packed_conv) {
        // The rows are those of one image. Swin v2 divides rows by their norms: those of its padding must be zeros.
        conv.mixes_rows = inputRows?.contains(-1) != true
        switch prologue {
        case .none: conv.prologue = CK_PROLOGUE_NONE
        case .affine(let affine): conv.prologue = affine.hasReLU ? CK_PROLOGUE_AFFINE_RELU : CK_PROLOGUE_AFFINE
        case .imageScale: conv.prologue = CK_PROLOGUE_IMAGE_SCALE
        case .layerNorm(_, _, let eps):
            conv.prologue = CK_PROLOGUE_LAYER_NORM
            conv.eps = eps
        }
    }
}
