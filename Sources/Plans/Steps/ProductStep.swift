import CKernels
import Tensors

/// A convolution or a Linear with packed weights.
struct ProductStep<Kernel: ProductKernel>: Step {
    var kernel: String { parallel.algorithm }
    let multiplyAdds: Int
    let detail: String
    private let x: Operand
    private let y: Operand
    private let residual: Operand?
    /// Where the sums over the pixels go: one row for each thread.
    private let sums: Operand?
    private let extras: Extras
    private let weights: PackedWeights
    private let bias: [Float]?
    /// Prepared for all of the engine's threads, and for one.
    private let parallel: Kernel
    private let serial: Kernel

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
        (parallel, serial) = (kernel.prepared(threads: threads), kernel.prepared(threads: 1))
        weights = cache.weights(product, parallel)
        precondition(serial.layout == parallel.layout, "ProductStep: packed weights depend on the number of threads")
        bias = product.weights.bias
        detail = product.summary
        extras = Extras(product, node, layout)
        multiplyAdds = product.multiplyAdds(rows: Int(shape.oh * shape.ow))
    }

    var scratchSize: Int { Int(max(parallel.scratch, serial.scratch)) }

    func run(_ execution: Execution) {
        // Waking another thread takes longer than some tens of thousands of multiply-adds.
        run(execution, execution.isParallel && multiplyAdds > 1 << 15 ? parallel : serial)
    }

    func onGroup(of images: Int, threads: Int) -> (any Step)? {
        guard sums == nil, extras.suitGroups, let xStride = x.groupRowStride, let yStride = y.groupRowStride,
            let residualStride = residual.map(\.groupRowStride) ?? 0
        else { return nil }
        let strides = ck_strides(x: Int64(xStride), y: Int64(yStride), residual: Int64(residualStride))
        guard let kernel = serial.onGroup(of: images, strides, threads: threads) else { return nil }
        return ProductStep(self, kernel, images: images, threads: threads)
    }

    /// Another step with a kernel for a group of images.
    private init(_ one: ProductStep, _ kernel: Kernel, images: Int, threads: Int) {
        (x, y, residual, sums, extras) = (one.x, one.y, one.residual, nil, one.extras)
        (weights, bias, detail) = (one.weights, one.bias, one.detail)
        multiplyAdds = one.multiplyAdds * images
        (parallel, serial) = (kernel.prepared(threads: threads), kernel.prepared(threads: 1))
    }

    private func run(_ execution: Execution, _ kernel: Kernel) {
        bias.withOptionalPointer { bias in
            let operands = ck_operands(
                x: execution.pointer(x.location), weight: weights.pointer, bias: bias,
                residual: residual.map { UnsafePointer(execution.pointer($0.location)) },
                y: execution.pointer(y.location))
            let sums = sums.map { execution.pointer($0.location) }
            if let sums { sums.update(repeating: 0, count: execution.isParallel ? self.sums!.count : y.width) }
            extras.withPointers(execution) { packed in
                execution.forEachPart(kernel.units) { begin, end, part in
                    let extras = ProductExtras(packed: packed, sums: sums.map { $0 + part * y.width })
                    kernel.run(operands, extras, begin, end, execution.scratch(ofPart: part))
                }
            }
        }
    }
}

/// The operands of a product beside those that every kernel has.
private struct Extras {
    let scale: [Float]?
    let shift: [Float]?
    let imageScale: Operand?
    let inputRows: [Int32]?
    let outputRows: [Int32]?
    let padding: [Float]?

    init(_ product: Product, _ node: Graph.Node, _ layout: MemoryLayout) {
        var imageScale: Operand?
        switch product.prologue {
        case .none: (scale, shift) = (nil, nil)
        case .affine(let affine): (scale, shift) = (affine.scale, affine.shift)
        case .layerNorm(let scale, let shift, _): (self.scale, self.shift) = (scale, shift)
        case .imageScale:
            (scale, shift) = (nil, nil)
            imageScale = Operand(node.inputs.last!, layout)
        }
        self.imageScale = imageScale
        (inputRows, outputRows, padding) = (product.inputRows, product.outputRows, product.padding)
    }

    /// Whether they serve all images of a group: an order of rows is one image's, and scales are read one image's behind the
    /// other's.
    var suitGroups: Bool {
        inputRows == nil && outputRows == nil && imageScale.map { $0.groupRowStride == $0.width } ?? true
    }

    func withPointers(_ execution: Execution, _ body: (ck_packed_extras) -> Void) {
        scale.withOptionalPointer { scale in
            shift.withOptionalPointer { shift in
                inputRows.withOptionalPointer { inputRows in
                    outputRows.withOptionalPointer { outputRows in
                        padding.withOptionalPointer { padding in
                            let scale = imageScale.map { UnsafePointer(execution.pointer($0.location)) } ?? scale
                            body(
                                ck_packed_extras(
                                    scale: scale, shift: shift, x_rows: inputRows, y_rows: outputRows,
                                    padding: padding))
                        }
                    }
                }
            }
        }
    }
}

extension Optional {
    /// Calls `body` with a pointer to an array's elements, or with `nil`.
    fileprivate func withOptionalPointer<Element>(_ body: (UnsafePointer<Element>?) -> Void)
    where Wrapped == [Element] {
        guard let self else { return body(nil) }
        self.withUnsafeBufferPointer { body($0.baseAddress) }
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
