import CKernels

/// Convolutions and Linears on kernels of our own, as in plans. Weights change with every training step, so that they are
/// packed for each call: little beside the product, from some rows on.
extension Convolution {
    /// Products of fewer rows (the squeeze and excitation of a few images, a classifier) are left to OpenBLAS, but for groups:
    /// packing the weights reads and writes each once, about what 30 products with it take.
    private static let fewestRows = 32
    /// The same of Winograd's weights, which are up to four times as many (two threads, one image, 7 x 7 x 512: 1.35 ms, so 0.56).
    private static let fewestWinogradRows = 64

    /// Whether the kernels below suit the convolution.
    static func suitsKernels(_ shape: ck_conv2d_shape) -> Bool {
        Engine.usesKernels && !shape.isDepthwise && (shape.groups > 1 || shape.outputRows >= fewestRows)
    }

    /// Whether the kernel for small groups suits it too. Those of 16 take no longer in panels (two threads, 8 images, 28 x 28 x
    /// 512, stride 2: 0.70 and 0.70 ms).
    private static func suitsGroupedKernel(_ shape: ck_conv2d_shape) -> Bool {
        shape.groupOutputs < 16 && ck_grouped_suits([shape])
    }

    /// A Linear over `rows` rows as a 1 x 1 convolution of one image.
    static func linearShape(rows: Int, inputs: Int, outputs: Int) -> ck_conv2d_shape {
        ck_conv2d_shape(
            n: 1, h: 1, w: Int64(rows), c: Int64(inputs), oh: 1, ow: Int64(rows), o: Int64(outputs), kh: 1, kw: 1,
            stride_h: 1, stride_w: 1, pad_top: 0, pad_left: 0, dilation_h: 1, dilation_w: 1, groups: 1)
    }

    // MARK: Forward

    /// Weights as they lie in memory.
    enum Weights {
        /// `[O, KH, KW, C / groups]`.
        case plain(Tensor)
        /// Those of another convolution, with inputs and outputs exchanged.
        case view(ck_weight_view)
    }

    /// - Parameters:
    ///   - x: where the input is.
    ///   - rows: to which row of `output` each row goes; `nil`: to that of the same number.
    static func kernelForward(
        _ shape: ck_conv2d_shape, _ x: UnsafePointer<Float>, _ weights: Weights, _ bias: Tensor?,
        into output: UnsafeMutablePointer<Float>, rows: [Int32]? = nil
    ) {
        if rows == nil, case .plain(let weight) = weights, suitsGroupedKernel(shape) {
            grouped(shape, x, weight, bias, into: output)
        } else if rows == nil, shape.outputRows >= fewestWinogradRows, ck_winograd_suits([shape]) {
            winograd(shape, x, weights, bias, into: output)
        } else {
            packed(shape, x, weights, bias, into: output, rows: rows)
        }
    }

    private static func winograd(
        _ shape: ck_conv2d_shape, _ x: UnsafePointer<Float>, _ weights: Weights, _ bias: Tensor?,
        into output: UnsafeMutablePointer<Float>
    ) {
        var conv = ck_winograd_conv()
        (conv.shape, conv.strides, conv.epilogue) = (shape, strides(shape), nothing)
        ck_winograd_prepare(&conv, Int64(Engine.threads))
        withUnsafePointer(to: conv) { conv in
            let packed = TensorStorage(count: Int(ck_winograd_weights(conv)))
            parallelFor(Int(conv.pointee.panels), grain: 1) { begin, end in
                switch weights {
                case .plain(let weight):
                    ck_winograd_pack(conv, weight.pointer, Int64(begin), Int64(end), packed.pointer)
                case .view(let view): ck_winograd_pack_view(conv, [view], Int64(begin), Int64(end), packed.pointer)
                }
            }
            let operands = ck_operands(x: x, weight: packed.pointer, bias: bias?.pointer, residual: nil, y: output)
            parallelFor(Int(conv.pointee.units), grain: 1) { begin, end in
                let scratch = TensorStorage(count: Int(conv.pointee.scratch))
                ck_winograd_run(conv, [operands], Int64(begin), Int64(end), scratch.pointer)
            }
        }
    }

    private static func packed(
        _ shape: ck_conv2d_shape, _ x: UnsafePointer<Float>, _ weights: Weights, _ bias: Tensor?,
        into output: UnsafeMutablePointer<Float>, rows: [Int32]?
    ) {
        var conv = ck_packed_conv()
        (conv.shape, conv.strides, conv.epilogue) = (shape, strides(shape), nothing)
        conv.prologue = CK_PROLOGUE_NONE
        ck_packed_conv_prepare(&conv, Int64(Engine.threads))
        withUnsafePointer(to: conv) { conv in
            let packed = TensorStorage(count: Int(ck_packed_conv_weights(conv)))
            parallelFor(Int(conv.pointee.panels), grain: 1) { begin, end in
                switch weights {
                case .plain(let weight):
                    ck_packed_conv_pack_panels(conv, weight.pointer, packed.pointer, Int64(begin), Int64(end))
                case .view(let view):
                    ck_packed_conv_pack_view(conv, [view], packed.pointer, Int64(begin), Int64(end))
                }
            }
            let operands = ck_operands(x: x, weight: packed.pointer, bias: bias?.pointer, residual: nil, y: output)
            (rows ?? []).withUnsafeBufferPointer { rowBuffer in
                var extras = ck_packed_extras()
                extras.y_rows = rows == nil ? nil : rowBuffer.baseAddress
                parallelFor(Int(conv.pointee.units), grain: 1) { begin, end in
                    let scratch = TensorStorage(count: Int(conv.pointee.scratch))
                    ck_packed_conv_run(conv, [operands], [extras], Int64(begin), Int64(end), scratch.pointer)
                }
            }
        }
    }

    private static func grouped(
        _ shape: ck_conv2d_shape, _ x: UnsafePointer<Float>, _ weight: Tensor, _ bias: Tensor?,
        into output: UnsafeMutablePointer<Float>
    ) {
        let conv = groupedConvolution(shape)
        withUnsafePointer(to: conv) { conv in
            let packed = TensorStorage(count: Int(ck_grouped_weights(conv)))
            ck_grouped_pack(conv, weight.pointer, packed.pointer)
            let operands = ck_operands(x: x, weight: packed.pointer, bias: bias?.pointer, residual: nil, y: output)
            parallelFor(Int(conv.pointee.units), grain: 1) { begin, end in
                let scratch = TensorStorage(count: Int(conv.pointee.scratch))
                ck_grouped_run(conv, [operands], Int64(begin), Int64(end), scratch.pointer)
            }
        }
    }

    private static func groupedConvolution(_ shape: ck_conv2d_shape) -> ck_grouped_conv {
        var conv = ck_grouped_conv()
        (conv.shape, conv.strides, conv.epilogue) = (shape, strides(shape), nothing)
        ck_grouped_prepare(&conv, Int64(Engine.threads))
        return conv
    }

    private static func strides(_ shape: ck_conv2d_shape) -> ck_strides {
        ck_strides(x: shape.c, y: shape.o, residual: 0)
    }

    private static var nothing: ck_epilogue { ck_epilogue(activation: CK_IDENTITY, combine: CK_COMBINE_NONE) }

    // MARK: Input gradient

    /// The gradient of the input as convolutions of the output's gradient; `nil` where it is none.
    static func kernelInputGradient(
        _ shape: ck_conv2d_shape, _ weight: Tensor, _ gradient: Tensor, inputShape: [Int]
    ) -> Tensor? {
        if let adjoint = shape.adjoint {
            guard suitsKernels(adjoint) else { return nil }
            let result = Tensor(uninitialized: inputShape)
            let weights =
                suitsGroupedKernel(adjoint)
                ? Weights.plain(adjointWeight(shape, weight)) : .view(shape.adjointWeight(weight))
            kernelForward(adjoint, gradient.pointer, weights, nil, into: result.mutablePointer)
            return result
        }
        guard suitsKernels(shape), let phases = shape.inputPhases else { return nil }
        let isCovered = phases.count == Int(shape.stride_h * shape.stride_w)
        let result = isCovered ? Tensor(uninitialized: inputShape) : Tensor.zeros(inputShape)
        for phase in phases {
            kernelForward(
                phase.convolution(of: shape), gradient.pointer, .view(phase.weight(of: shape, weight)), nil,
                into: result.mutablePointer, rows: phase.rows(of: shape))
        }
        return result
    }

    // MARK: Weight gradient

    /// The gradient of the weights, `[O, KH, KW, C / groups]`, from `x` and the output's gradient.
    static func kernelWeightGradient(
        _ shape: ck_conv2d_shape, _ x: Tensor, _ gradient: Tensor, weightShape: [Int]
    ) -> Tensor {
        // Input channels that do not fill a vector (images) are put together with the taps.
        if shape.groups == 1, shape.taps > 1, shape.c < 12 {
            return columnWeightGradient(shape, x, gradient).reshaped(weightShape)
        }
        if let gradient = sharedWeightGradient(shape, x, gradient) { return gradient.reshaped(weightShape) }
        var task = ck_weight_gradient()
        task.shape = shape
        ck_weight_gradient_prepare(&task, Int64(Engine.threads))
        let result = Tensor(uninitialized: weightShape)
        withUnsafePointer(to: task) { task in
            parallelFor(Int(task.pointee.units), grain: 1) { begin, end in
                let scratch = TensorStorage(count: Int(task.pointee.scratch))
                ck_weight_gradient_run(
                    task, x.pointer, gradient.pointer, Int64(begin), Int64(end), result.mutablePointer,
                    scratch.pointer)
            }
        }
        return result
    }

    /// The same in small groups: threads share the pixels, and their sums are added.
    static func groupedWeightGradient(
        _ shape: ck_conv2d_shape, _ x: Tensor, _ gradient: Tensor, weightShape: [Int]
    ) -> Tensor {
        let conv = groupedConvolution(shape), result = Tensor(uninitialized: weightShape)
        withUnsafePointer(to: conv) { conv in
            let count = Int(ck_grouped_weights(conv))
            let rowWork = Int(shape.ow) * shape.groupDepth * Int(shape.o)
            let chunks = Chunks(Int(shape.n * shape.oh), grain: max(1, (1 << 20) / rowWork))
            let partial = Tensor.zeros([chunks.count, count])
            chunks.run { begin, end, chunk in
                let scratch = TensorStorage(count: Int(conv.pointee.scratch))
                ck_grouped_weight_gradient(
                    conv, x.pointer, gradient.pointer, Int64(begin), Int64(end), partial.mutablePointer + chunk * count,
                    scratch.pointer)
            }
            ck_grouped_unpack(conv, partial.summed(to: [1, count]).pointer, result.mutablePointer)
        }
        return result
    }

    /// The same, `[1, O KH KW C / groups]`, for few weights: threads share the pixels or images, so that each reads its part
    /// of the memory alone, and their sums are added. `nil` for many weights, or fewer images than threads.
    private static func sharedWeightGradient(_ shape: ck_conv2d_shape, _ x: Tensor, _ gradient: Tensor) -> Tensor? {
        let count = Int(shape.o) * shape.groupDepth
        guard count <= mostSharedWeights else { return nil }
        let unit = shape.isPointwise ? 1 : Int(shape.oh * shape.ow)
        let chunks = Chunks(shape.outputRows / unit, grain: max(1, 2048 / unit))
        guard chunks.count >= Engine.threads else { return nil }
        let partial = Tensor(uninitialized: [chunks.count, count])
        chunks.run { begin, end, chunk in
            var task = ck_weight_gradient()
            task.shape = shape
            var first = 0
            if shape.isPointwise {
                task.shape = linearShape(rows: end - begin, inputs: Int(shape.c), outputs: Int(shape.o))
                task.shape.groups = shape.groups
                first = begin * Int(shape.c)
            } else {
                task.shape.n = Int64(end - begin)
                first = begin * Int(shape.h * shape.w * shape.c)
            }
            ck_weight_gradient_prepare(&task, 1)
            let scratch = TensorStorage(count: Int(task.scratch))
            ck_weight_gradient_run(
                &task, x.pointer + first, gradient.pointer + begin * unit * Int(shape.o), 0, task.units,
                partial.mutablePointer + chunk * count, scratch.pointer)
        }
        return partial.summed(to: [1, count])
    }

    /// More weights than this take more time to add than the memory's sharing saves. One core of a Zen 4, GFLOP/s when it
    /// reads all for half of the weights, and half for all of them: 16 -> 64 at 112 x 112: 43 and 58; 256 -> 64 at
    /// 56 x 56: 74 and 90; 3 x 3, 64 -> 64 at 56 x 56: 106 and 110.
    private static let mostSharedWeights = 32768

    /// The same, of columns: `[1, O KH KW C]`. Threads share the pixels, and the sums of their parts are added.
    private static func columnWeightGradient(_ shape: ck_conv2d_shape, _ x: Tensor, _ gradient: Tensor) -> Tensor {
        let (depth, outputs) = (shape.groupDepth, Int(shape.o))
        let block = 256
        let chunks = Chunks(shape.outputRows, grain: 4 * block)
        let partial = Tensor(uninitialized: [chunks.count, outputs * depth])
        chunks.run { begin, end, chunk in
            let columns = TensorStorage(count: block * depth)
            for low in stride(from: begin, to: end, by: block) {
                let rows = low..<min(end, low + block)
                ck_im2col_f32(
                    [shape], [tile(rows: rows, taps: 0..<shape.taps, group: 0, channels: Int(shape.c))], x.pointer,
                    columns.pointer)
                var task = ck_weight_gradient()
                task.shape = linearShape(rows: rows.count, inputs: depth, outputs: outputs)
                task.adds = low > begin
                ck_weight_gradient_prepare(&task, 1)
                let scratch = TensorStorage(count: Int(task.scratch))
                ck_weight_gradient_run(
                    &task, columns.pointer, gradient.pointer + low * outputs, 0, task.units,
                    partial.mutablePointer + chunk * depth * outputs, scratch.pointer)
            }
        }
        return partial.summed(to: [1, depth * outputs])
    }
}

/// The input pixels that are reached by the same taps of a convolution with strides: those of rows `top`, `top + stride`,
/// … and of columns `left`, `left + stride`, …. Their gradient is a convolution of stride 1 of the output's gradient with
/// those taps alone.
struct InputPhase {
    /// One direction of it.
    struct Axis {
        /// The first pixel, and their number.
        let start: Int
        let size: Int
        /// The first tap, and their number; the others follow at the stride.
        let firstTap: Int
        let taps: Int
        /// The padding of the convolution.
        let padding: Int

        /// - Returns: `nil` without taps.
        init?(start: Int, size: Int, kernel: Int, stride: Int, padding: Int) {
            firstTap = (start + padding) % stride
            taps = firstTap < kernel ? (kernel - firstTap + stride - 1) / stride : 0
            guard taps > 0, start < size else { return nil }
            self.start = start
            self.size = (size - start + stride - 1) / stride
            // Pixel `start + stride i` gets, by tap `firstTap + stride t`, output pixel `i + (start + padding - firstTap) / stride - t`.
            self.padding = taps - 1 - (start + padding - firstTap) / stride
        }
    }

    let vertical: Axis
    let horizontal: Axis

    func convolution(of shape: ck_conv2d_shape) -> ck_conv2d_shape {
        ck_conv2d_shape(
            n: shape.n, h: shape.oh, w: shape.ow, c: shape.o, oh: Int64(vertical.size), ow: Int64(horizontal.size),
            o: shape.c, kh: Int64(vertical.taps), kw: Int64(horizontal.taps), stride_h: 1, stride_w: 1,
            pad_top: Int64(vertical.padding), pad_left: Int64(horizontal.padding), dilation_h: 1, dilation_w: 1,
            groups: shape.groups)
    }

    /// The phase's taps in reverse.
    func weight(of shape: ck_conv2d_shape, _ weight: Tensor) -> ck_weight_view {
        let channels = shape.groupChannels
        let right = Int(shape.stride_w) * channels, down = Int(shape.stride_h * shape.kw) * channels
        let first = (vertical.firstTap * Int(shape.kw) + horizontal.firstTap) * channels
        return ck_weight_view(
            first: weight.pointer + first + (vertical.taps - 1) * down + (horizontal.taps - 1) * right,
            group: Int64(shape.groupOutputs * shape.groupDepth),
            input: Int64(shape.groupDepth), kh: Int64(-down), kw: Int64(-right))
    }

    /// The input pixel of each of the phase's pixels.
    func rows(of shape: ck_conv2d_shape) -> [Int32] {
        var rows: [Int32] = []
        rows.reserveCapacity(Int(shape.n) * vertical.size * horizontal.size)
        for image in 0..<Int(shape.n) {
            for i in 0..<vertical.size {
                let first = (image * Int(shape.h) + vertical.start + i * Int(shape.stride_h)) * Int(shape.w)
                for j in 0..<horizontal.size {
                    rows.append(Int32(first + horizontal.start + j * Int(shape.stride_w)))
                }
            }
        }
        return rows
    }
}

extension ck_conv2d_shape {
    /// The weights of ``adjoint``: taps in reverse, input and output channels of each group exchanged.
    func adjointWeight(_ weight: Tensor) -> ck_weight_view {
        let channels = Int64(groupChannels)
        return ck_weight_view(
            first: weight.pointer + (taps - 1) * groupChannels, group: Int64(groupOutputs * groupDepth),
            input: Int64(groupDepth), kh: -kw * channels, kw: -channels)
    }

    /// The phases that get a gradient at all; `nil` for dilated convolutions and for unusual padding.
    var inputPhases: [InputPhase]? {
        guard dilation_h == 1, dilation_w == 1, n * h * w <= Int64(Int32.max) else { return nil }
        let vertical = (0..<Int(stride_h)).compactMap {
            InputPhase.Axis(
                start: $0, size: Int(h), kernel: Int(kh), stride: Int(stride_h), padding: Int(pad_top))
        }
        let horizontal = (0..<Int(stride_w)).compactMap {
            InputPhase.Axis(
                start: $0, size: Int(w), kernel: Int(kw), stride: Int(stride_w), padding: Int(pad_left))
        }
        guard (vertical + horizontal).allSatisfy({ $0.padding >= 0 }) else { return nil }
        return vertical.flatMap { row in horizontal.map { InputPhase(vertical: row, horizontal: $0) } }
    }
}
