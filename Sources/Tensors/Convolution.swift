import CKernels

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Convolution, forward and backward: on the kernels of Convolution+Kernels.swift, or by im2col and OpenBLAS, which is what
/// they are tested against; and with a kernel of our own in both cases where a matrix product does not fit: depthwise.
enum Convolution {
    // MARK: Forward

    static func forward(
        _ shape: ck_conv2d_shape, _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, into output: Tensor
    ) {
        if shape.isDepthwise {
            let taps = transposed(weight, rows: Int(shape.c), columns: shape.taps)
            let work = Int(shape.ow * shape.c) * shape.taps
            parallelFor(Int(shape.n * shape.oh), grain: max(1, 4 * elementwiseGrain / work)) { begin, end in
                ck_depthwise_forward_f32(
                    [shape], Int64(begin), Int64(end), x.pointer, taps.pointer, bias?.pointer, output.mutablePointer)
            }
        } else if suitsKernels(shape) {
            kernelForward(shape, x.pointer, .plain(weight), bias, into: output.mutablePointer)
        } else {
            matrixForward(shape, x, weight, bias, into: output)
        }
    }

    /// Rows of output pixels are shared among the threads; where there are few of them for many channels (7 x 7
    /// images), the channels are.
    private static func matrixForward(
        _ shape: ck_conv2d_shape, _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, into output: Tensor
    ) {
        let (rows, outputs, depth, stride) = (shape.outputRows, shape.groupOutputs, shape.groupDepth, Int(shape.o))
        let byChannels = rows < 64 * Engine.threads && outputs >= 64 * Engine.threads
        let (unit, extent) = byChannels ? (16, outputs) : (8, rows)
        let unitWork = unit * depth * (byChannels ? rows : stride)
        parallelFor((extent + unit - 1) / unit, grain: max(1, (1 << 20) / unitWork)) { begin, end in
            let share = begin * unit..<min(extent, end * unit)
            let rowShare = byChannels ? 0..<rows : share
            let outputShare = byChannels ? share : 0..<outputs
            for group in 0..<Int(shape.groups) {
                let first = group * outputs + outputShare.lowerBound
                let target = output.mutablePointer + first
                if let bias {
                    for row in rowShare {
                        (target + row * stride).update(from: bias.pointer + first, count: outputShare.count)
                    }
                }
                forEachTile(shape, x, rows: rowShare, group: group) { columns, rows, taps in
                    let low = taps.lowerBound * shape.groupChannels
                    gemm(
                        m: rows.count, n: outputShare.count, k: taps.count * shape.groupChannels, columns,
                        MatrixOperand(weight.pointer + first * depth + low, stride: depth, transposed: true),
                        beta: bias == nil && low == 0 ? 0 : 1, target + rows.lowerBound * stride, stride: stride)
                }
            }
        }
    }

    // MARK: Column tiles

    /// Elements of a column tile: half of the L2 cache, the rest is for the product's own panels.
    private static let tileElements: Int = {
        let l2 = sysconf(Int32(_SC_LEVEL2_CACHE_SIZE))
        return max(256 << 10, l2 > 0 ? Int(l2) : 512 << 10) / 2 / MemoryLayout<Float>.size
    }()

    /// The taps of one tile: as many as give the product a depth that it runs well at.
    private static func tapsPerTile(_ shape: ck_conv2d_shape) -> Int {
        min(shape.taps, max(1, 384 / shape.groupChannels))
    }

    private static func rowsPerTile(_ shape: ck_conv2d_shape) -> Int {
        max(32, tileElements / (tapsPerTile(shape) * shape.groupChannels))
    }

    /// Calls `body` with the columns `[rows, taps · C / groups]` of one group, tile by tile: all taps of the first
    /// rows, then the next rows. A pointwise convolution's columns are the input itself, in one tile.
    private static func forEachTile(
        _ shape: ck_conv2d_shape, _ x: Tensor, rows: Range<Int>, group: Int,
        _ body: (_ columns: MatrixOperand, _ rows: Range<Int>, _ taps: Range<Int>) -> Void
    ) {
        let channels = shape.groupChannels
        if shape.isPointwise {
            let start = x.pointer + rows.lowerBound * Int(shape.c) + group * channels
            return body(MatrixOperand(start, stride: Int(shape.c)), rows, 0..<1)
        }
        let (tapStep, rowStep) = (tapsPerTile(shape), min(rows.count, rowsPerTile(shape)))
        let buffer = TensorStorage(count: rowStep * tapStep * channels)
        for low in stride(from: rows.lowerBound, to: rows.upperBound, by: rowStep) {
            let tileRows = low..<min(rows.upperBound, low + rowStep)
            for tap in stride(from: 0, to: shape.taps, by: tapStep) {
                let taps = tap..<min(shape.taps, tap + tapStep)
                let tile = tile(rows: tileRows, taps: taps, group: group, channels: channels)
                ck_im2col_f32([shape], [tile], x.pointer, buffer.pointer)
                body(MatrixOperand(buffer.pointer, stride: taps.count * channels), tileRows, taps)
            }
        }
    }

    static func tile(rows: Range<Int>, taps: Range<Int>, group: Int, channels: Int) -> ck_im2col_tile {
        ck_im2col_tile(
            row_begin: Int64(rows.lowerBound), row_end: Int64(rows.upperBound), tap_begin: Int64(taps.lowerBound),
            tap_end: Int64(taps.upperBound), c_begin: Int64(group * channels), c_end: Int64((group + 1) * channels))
    }

    // MARK: Backward

    static func inputGradient(
        _ shape: ck_conv2d_shape, _ weight: Tensor, _ gradient: Tensor, inputShape: [Int]
    ) -> Tensor {
        if !shape.isDepthwise, Engine.usesKernels,
            let result = kernelInputGradient(shape, weight, gradient, inputShape: inputShape)
        {
            return result
        }
        let result = Tensor(uninitialized: inputShape)
        if shape.isDepthwise {
            let taps = transposed(weight, rows: Int(shape.c), columns: shape.taps)
            let work = Int(shape.w * shape.c) * shape.taps
            parallelFor(Int(shape.n * shape.h), grain: max(1, 4 * elementwiseGrain / work)) { begin, end in
                ck_depthwise_backward_input_f32(
                    [shape], Int64(begin), Int64(end), gradient.pointer, taps.pointer, result.mutablePointer)
            }
        } else if shape.isPointwise, shape.groups == 1 {
            parallelGemm(
                m: shape.outputRows, n: Int(shape.c), k: Int(shape.o),
                MatrixOperand(gradient.pointer, stride: Int(shape.o)),
                MatrixOperand(weight.pointer, stride: Int(shape.c)), result.mutablePointer, stride: Int(shape.c))
        } else if let adjoint = shape.adjoint {
            forward(adjoint, gradient, adjointWeight(shape, weight), nil, into: result)
        } else {
            scatteredInputGradient(shape, weight, gradient, into: result)
        }
        return result
    }

    /// The weights `[C, kH, kW, O / groups]` of the convolution that computes the input's gradient: taps in reverse,
    /// input and output channels of each group exchanged.
    static func adjointWeight(_ shape: ck_conv2d_shape, _ weight: Tensor) -> Tensor {
        let (groups, outputs, channels) = (Int(shape.groups), shape.groupOutputs, shape.groupChannels)
        let depth = shape.groupDepth
        // Read as [groups, C / groups, taps, O / groups], the taps backward.
        return weight.gathered(
            shape: [groups, channels, shape.taps, outputs], strides: [outputs * depth, 1, -channels, depth],
            offset: (shape.taps - 1) * channels
        ).reshaped([Int(shape.c), Int(shape.kh), Int(shape.kw), outputs])
    }

    /// The gradient of each column tile, added to the pixels that the columns came from. Tiles of one image overlap, so
    /// that only whole images are shared among the threads.
    private static func scatteredInputGradient(
        _ shape: ck_conv2d_shape, _ weight: Tensor, _ gradient: Tensor, into result: Tensor
    ) {
        let (outputs, channels, depth, o) = (shape.groupOutputs, shape.groupChannels, shape.groupDepth, Int(shape.o))
        let pixels = Int(shape.oh * shape.ow)
        let imageSize = Int(shape.h * shape.w * shape.c)
        parallelFor(Int(shape.n), grain: 1) { begin, end in
            (result.mutablePointer + begin * imageSize).update(repeating: 0, count: (end - begin) * imageSize)
            let (tapStep, rowStep) = (tapsPerTile(shape), min(pixels, rowsPerTile(shape)))
            let buffer = TensorStorage(count: rowStep * tapStep * channels)
            for image in begin..<end {
                for low in stride(from: image * pixels, to: (image + 1) * pixels, by: rowStep) {
                    let rows = low..<min((image + 1) * pixels, low + rowStep)
                    for group in 0..<Int(shape.groups) {
                        for tap in stride(from: 0, to: shape.taps, by: tapStep) {
                            let taps = tap..<min(shape.taps, tap + tapStep)
                            let width = taps.count * channels
                            gemm(
                                m: rows.count, n: width, k: outputs,
                                MatrixOperand(gradient.pointer + low * o + group * outputs, stride: o),
                                MatrixOperand(
                                    weight.pointer + group * outputs * depth + tap * channels, stride: depth),
                                buffer.pointer, stride: width)
                            ck_col2im_f32(
                                [shape], [tile(rows: rows, taps: taps, group: group, channels: channels)],
                                buffer.pointer, result.mutablePointer)
                        }
                    }
                }
            }
        }
    }

    static func weightGradient(
        _ shape: ck_conv2d_shape, _ x: Tensor, _ gradient: Tensor, weightShape: [Int]
    ) -> Tensor {
        if shape.isDepthwise { return depthwiseWeightGradient(shape, x, gradient, weightShape: weightShape) }
        if Engine.usesKernels, shape.groupOutputs < 32, ck_grouped_computes([shape]) {
            return groupedWeightGradient(shape, x, gradient, weightShape: weightShape)
        }
        if suitsKernels(shape) { return kernelWeightGradient(shape, x, gradient, weightShape: weightShape) }
        let result = Tensor(uninitialized: weightShape)
        let (outputs, channels, depth, o) = (shape.groupOutputs, shape.groupChannels, shape.groupDepth, Int(shape.o))
        // Each thread computes its own output channels (or groups) over all pixels: nothing to add up afterwards, and
        // the same numbers whatever the number of threads.
        let unit = shape.groups == 1 ? 16 : 1
        let extent = shape.groups == 1 ? outputs : Int(shape.groups)
        let unitWork = unit * shape.outputRows * depth
        parallelFor((extent + unit - 1) / unit, grain: max(1, (1 << 20) / unitWork)) { begin, end in
            let share = begin * unit..<min(extent, end * unit)
            for group in shape.groups == 1 ? 0..<1 : share {
                let outputShare = shape.groups == 1 ? share : 0..<outputs
                let first = group * outputs + outputShare.lowerBound
                forEachTile(shape, x, rows: 0..<shape.outputRows, group: group) { columns, rows, taps in
                    gemm(
                        m: outputShare.count, n: taps.count * channels, k: rows.count,
                        MatrixOperand(gradient.pointer + rows.lowerBound * o + first, stride: o, transposed: true),
                        columns, beta: rows.lowerBound == 0 ? 0 : 1,
                        result.mutablePointer + first * depth + taps.lowerBound * channels, stride: depth)
                }
            }
        }
        return result
    }

    private static func depthwiseWeightGradient(
        _ shape: ck_conv2d_shape, _ x: Tensor, _ gradient: Tensor, weightShape: [Int]
    ) -> Tensor {
        let count = shape.taps * Int(shape.c)
        let rows = Int(shape.n * shape.oh)
        let grain = max(1, 4 * elementwiseGrain / (Int(shape.ow) * count))
        let chunks = Chunks(rows, grain: grain)
        let partial = Tensor.zeros([chunks.count, count])
        chunks.run { begin, end, chunk in
            ck_depthwise_backward_weight_f32(
                [shape], Int64(begin), Int64(end), x.pointer, gradient.pointer, partial.mutablePointer + chunk * count)
        }
        let sum = partial.summed(to: [1, count])
        return transposed(sum, rows: shape.taps, columns: Int(shape.c)).reshaped(weightShape)
    }

    /// The matrix transposed; the shape of the result is flat.
    private static func transposed(_ x: Tensor, rows: Int, columns: Int) -> Tensor {
        let result = Tensor(uninitialized: [x.count])
        ck_transpose_f32(x.pointer, 1, Int64(rows), Int64(columns), result.mutablePointer)
        return result
    }
}

extension ck_conv2d_shape {
    var taps: Int { Int(kh * kw) }
    /// Input channels, output channels, and the product's depth, of one group.
    var groupChannels: Int { Int(c / groups) }
    var groupOutputs: Int { Int(o / groups) }
    var groupDepth: Int { taps * groupChannels }
    /// Output pixels of all images.
    var outputRows: Int { Int(n * oh * ow) }
    var isDepthwise: Bool { groups == c && groups == o && groups > 1 }
    /// Every output pixel sees exactly the input pixel of its own row number.
    var isPointwise: Bool {
        kh == 1 && kw == 1 && stride_h == 1 && stride_w == 1 && pad_top == 0 && pad_left == 0
    }

    /// The convolution, of the output's gradient, that computes the input's gradient; `nil` where that is none: with
    /// strides, or with more padding than the kernel covers.
    var adjoint: ck_conv2d_shape? {
        let top = dilation_h * (kh - 1) - pad_top
        let left = dilation_w * (kw - 1) - pad_left
        guard stride_h == 1, stride_w == 1, top >= 0, left >= 0 else { return nil }
        return ck_conv2d_shape(
            n: n, h: oh, w: ow, c: o, oh: h, ow: w, o: c, kh: kh, kw: kw, stride_h: 1, stride_w: 1, pad_top: top,
            pad_left: left, dilation_h: dilation_h, dilation_w: dilation_w, groups: groups)
    }
}
