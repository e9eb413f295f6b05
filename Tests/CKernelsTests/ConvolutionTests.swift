import CKernels
import Testing

extension KernelTests {
    @Suite struct Convolution {
        struct Case: CustomTestStringConvertible, Sendable {
            var n = 1
            var h: Int, w: Int, c: Int, o: Int
            var k: (Int, Int)
            var stride = (1, 1)
            var pad = (0, 0)
            var dilation = (1, 1)
            var groups = 1

            var outputSize: (Int, Int) {
                (
                    (h + 2 * pad.0 - dilation.0 * (k.0 - 1) - 1) / stride.0 + 1,
                    (w + 2 * pad.1 - dilation.1 * (k.1 - 1) - 1) / stride.1 + 1
                )
            }
            var shape: ck_conv2d_shape {
                ck_conv2d_shape(
                    n: n.int64, h: h.int64, w: w.int64, c: c.int64, oh: outputSize.0.int64, ow: outputSize.1.int64,
                    o: o.int64, kh: k.0.int64, kw: k.1.int64, stride_h: stride.0.int64, stride_w: stride.1.int64,
                    pad_top: pad.0.int64, pad_left: pad.1.int64, dilation_h: dilation.0.int64,
                    dilation_w: dilation.1.int64, groups: groups.int64)
            }
            var inputs: Int { n * h * w * c }
            var pixels: Int { n * outputSize.0 * outputSize.1 }
            var taps: Int { k.0 * k.1 }
            var testDescription: String {
                "\(n)x\(h)x\(w)x\(c) to \(o), kernel \(k), stride \(stride), pad \(pad), dilation \(dilation), "
                    + "groups \(groups)"
            }
        }

        static let denseCases: [Case] = [
            .init(h: 1, w: 1, c: 1, o: 1, k: (1, 1)),
            .init(n: 2, h: 9, w: 8, c: 3, o: 2, k: (7, 7), stride: (2, 2), pad: (3, 3)),
            .init(n: 2, h: 12, w: 15, c: 3, o: 2, k: (3, 3), stride: (2, 2), pad: (0, 1)),
            .init(h: 6, w: 7, c: 5, o: 2, k: (3, 3), pad: (1, 1)),
            .init(h: 6, w: 7, c: 5, o: 2, k: (1, 7), pad: (0, 3)),
            .init(h: 6, w: 7, c: 5, o: 2, k: (7, 1), pad: (3, 0)),
            .init(n: 3, h: 6, w: 7, c: 17, o: 2, k: (3, 3), pad: (2, 2), dilation: (2, 2)),
            .init(h: 9, w: 9, c: 4, o: 2, k: (3, 2), stride: (3, 2), pad: (1, 4), dilation: (1, 3)),
            .init(h: 4, w: 4, c: 32, o: 2, k: (4, 4), stride: (4, 4)),
            .init(h: 2, w: 2, c: 6, o: 2, k: (5, 5), pad: (4, 4)),
        ]

        static let depthwiseCases: [Case] = {
            var cases: [Case] = []
            for c in [1, 3, 4, 8, 13, 16, 24, 33, 70] {
                for k in [3, 5, 7] {
                    for stride in [1, 2] {
                        cases.append(
                            .init(
                                n: 2, h: 9, w: 14, c: c, o: c, k: (k, k), stride: (stride, stride),
                                pad: (k / 2, k / 2), groups: c))
                    }
                }
            }
            let shapes: [Case] = [
                .init(h: 1, w: 1, c: 20, o: 20, k: (3, 3), pad: (1, 1)),
                .init(h: 2, w: 3, c: 20, o: 20, k: (7, 7), pad: (3, 3)),
                .init(h: 12, w: 30, c: 20, o: 20, k: (3, 3)),
                .init(h: 12, w: 31, c: 20, o: 20, k: (3, 3), stride: (2, 2)),
                .init(h: 7, w: 11, c: 20, o: 20, k: (3, 3), pad: (2, 2), dilation: (2, 2)),
                .init(h: 7, w: 11, c: 20, o: 20, k: (3, 3), pad: (2, 2), dilation: (3, 1)),
                .init(h: 7, w: 11, c: 20, o: 20, k: (5, 3), pad: (0, 2)),
                .init(h: 7, w: 11, c: 20, o: 20, k: (2, 4), stride: (1, 3), pad: (1, 2)),
                .init(h: 7, w: 11, c: 20, o: 20, k: (3, 3), stride: (2, 1), pad: (1, 1)),
                .init(h: 7, w: 11, c: 20, o: 20, k: (3, 3), pad: (4, 5)),
                .init(h: 12, w: 13, c: 9, o: 9, k: (9, 9), pad: (4, 4)),
                .init(h: 12, w: 13, c: 9, o: 9, k: (9, 9), stride: (2, 3), pad: (4, 4)),
            ]
            return cases
                + shapes.map {
                    var c = $0; c.groups = c.c; return c
                }
        }()

        /// The tiles of a problem: all of it, and parts that start and end within rows, taps and channels.
        static func tiles(_ c: Case) -> [ck_im2col_tile] {
            let rows = c.pixels.int64, taps = c.taps.int64, channels = c.c.int64
            var tiles = [
                ck_im2col_tile(row_begin: 0, row_end: rows, tap_begin: 0, tap_end: taps, c_begin: 0, c_end: channels)
            ]
            tiles.append(
                ck_im2col_tile(
                    row_begin: rows / 3, row_end: rows, tap_begin: taps / 4, tap_end: max(taps - 2, taps / 4),
                    c_begin: 0, c_end: channels))
            tiles.append(
                ck_im2col_tile(
                    row_begin: 0, row_end: rows / 2, tap_begin: 0, tap_end: taps, c_begin: channels / 3,
                    c_end: channels))
            return tiles
        }

        @Test(arguments: denseCases)
        func im2col(_ c: Case) {
            var random = Random(3)
            var shape = c.shape
            let x = random.floats(c.inputs)
            let all = random.floats(c.pixels * c.taps * c.c)
            for var tile in Self.tiles(c) {
                let channels = Int(tile.c_end - tile.c_begin), taps = Int(tile.tap_end - tile.tap_begin)
                let rows = Int(tile.row_end - tile.row_begin), size = rows * taps * channels
                var expected = [Float](repeating: 0, count: size)
                var expectedGradient = (0..<c.inputs).map { Float($0 % 7) }
                let dcol = Floats(Array(all.values.prefix(size)))
                for r in 0..<rows {
                    for t in 0..<taps {
                        let pixel = r + Int(tile.row_begin), tap = t + Int(tile.tap_begin)
                        let (oh, ow) = c.outputSize
                        let h = pixel / ow % oh * c.stride.0 - c.pad.0 + tap / c.k.1 * c.dilation.0
                        let w = pixel % ow * c.stride.1 - c.pad.1 + tap % c.k.1 * c.dilation.1
                        guard h >= 0, h < c.h, w >= 0, w < c.w else { continue }
                        for channel in 0..<channels {
                            let from = ((pixel / ow / oh * c.h + h) * c.w + w) * c.c + Int(tile.c_begin) + channel
                            expected[(r * taps + t) * channels + channel] = x.pointer[from]
                            expectedGradient[from] += dcol.pointer[(r * taps + t) * channels + channel]
                        }
                    }
                }
                atEveryLevel { level in
                    let col = Floats(size, filledWith: .nan)
                    ck_im2col_f32(&shape, &tile, x.pointer, col.pointer)
                    expectClose(col, Floats(expected), tolerance: 0, "im2col \(c.testDescription) \(tile), \(level)")
                    let dx = Floats((0..<c.inputs).map { Float($0 % 7) })
                    ck_col2im_f32(&shape, &tile, dcol.pointer, dx.pointer)
                    expectClose(
                        dx, Floats(expectedGradient), tolerance: 1e-6,
                        "col2im \(c.testDescription) \(tile), \(level)")
                }
            }
        }

        @Test(arguments: depthwiseCases)
        func depthwise(_ c: Case) {
            var random = Random(4)
            var shape = c.shape
            let x = random.floats(c.inputs), weight = random.floats(c.taps * c.c), bias = random.floats(c.c)
            let dy = random.floats(c.pixels * c.c)
            let y = Floats(dy.count), yBare = Floats(dy.count), dx = Floats(x.count), dweight = Floats(weight.count)
            ck_conv2d_forward_f32_ref(&shape, x.pointer, weight.pointer, bias.pointer, y.pointer)
            ck_conv2d_forward_f32_ref(&shape, x.pointer, weight.pointer, nil, yBare.pointer)
            ck_conv2d_backward_f32_ref(&shape, x.pointer, weight.pointer, dy.pointer, dx.pointer, dweight.pointer)
            let rows = (c.n * c.outputSize.0).int64, inputRows = (c.n * c.h).int64
            atEveryLevel { level in
                let label = "\(c.testDescription), \(level)"
                let w = Floats(weight.count), dw = Floats(weight.count), dwBack = Floats(weight.count)
                ck_transpose_f32(weight.pointer, 1, shape.c, c.taps.int64, w.pointer)
                let out = Floats(y.count, filledWith: .nan), gradient = Floats(x.count, filledWith: .nan)
                // In two ranges, as the callers split them.
                for (begin, end) in [(0, rows / 3), (rows / 3, rows)] {
                    ck_depthwise_forward_f32(&shape, begin, end, x.pointer, w.pointer, bias.pointer, out.pointer)
                    ck_depthwise_backward_weight_f32(&shape, begin, end, x.pointer, dy.pointer, dw.pointer)
                }
                for (begin, end) in [(0, inputRows / 2), (inputRows / 2, inputRows)] {
                    ck_depthwise_backward_input_f32(&shape, begin, end, dy.pointer, w.pointer, gradient.pointer)
                }
                ck_transpose_f32(dw.pointer, 1, c.taps.int64, shape.c, dwBack.pointer)
                expectClose(out, y, tolerance: 2e-6, "depthwise \(label)")
                expectClose(gradient, dx, tolerance: 2e-6, "depthwise input gradient \(label)")
                expectClose(dwBack, dweight, tolerance: 4e-6, "depthwise weight gradient \(label)")
                ck_depthwise_forward_f32(&shape, 0, rows, x.pointer, w.pointer, nil, out.pointer)
                expectClose(out, yBare, tolerance: 2e-6, "depthwise without bias \(label)")
            }
        }

        /// The reference's backward against its forward: moving x or weight by a small step changes sum(y * dy) by the
        /// step times the gradient.
        @Test func referenceBackwardIsTheDerivative() {
            let c = Case(
                n: 2, h: 5, w: 6, c: 4, o: 6, k: (3, 2), stride: (2, 1), pad: (1, 1), dilation: (1, 2), groups: 2)
            var random = Random(6)
            var shape = c.shape
            let x = random.floats(c.inputs), weight = random.floats(c.o * c.taps * c.c / c.groups)
            let dy = random.floats(c.pixels * c.o)
            let dx = Floats(x.count), dweight = Floats(weight.count)
            ck_conv2d_backward_f32_ref(&shape, x.pointer, weight.pointer, dy.pointer, dx.pointer, dweight.pointer)
            func objective() -> Double {
                let y = Floats(dy.count)
                ck_conv2d_forward_f32_ref(&shape, x.pointer, weight.pointer, nil, y.pointer)
                return zip(y.values, dy.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            }
            func differences(_ parameter: Floats) -> [Double] {
                (0..<parameter.count).map { i in
                    let value = parameter.pointer[i], step: Float = 0.125
                    parameter.pointer[i] = value + step
                    let up = objective()
                    parameter.pointer[i] = value - step
                    let down = objective()
                    parameter.pointer[i] = value
                    return (up - down) / Double(2 * step)
                }
            }
            expectClose(dx.values.map(Double.init), differences(x), tolerance: 1e-4, "input gradient")
            expectClose(dweight.values.map(Double.init), differences(weight), tolerance: 1e-4, "weight gradient")
        }
    }
}
