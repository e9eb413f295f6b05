import CKernels
import Testing

extension KernelTests {
    @Suite struct Pooling {
        struct Case: CustomTestStringConvertible, Sendable {
            var n = 1
            var h: Int, w: Int, c: Int
            var k: (Int, Int)
            var stride = (1, 1)
            var pad = (0, 0)
            var dilation = (1, 1)
            var ceilMode = false

            func shape(countIncludePad: Bool = false, output: (Int, Int)? = nil) -> ck_pool2d_shape {
                let ceil: Int32 = ceilMode ? 1 : 0
                let oh = ck_pool_output_size(h.int64, k.0.int64, stride.0.int64, pad.0.int64, dilation.0.int64, ceil)
                let ow = ck_pool_output_size(w.int64, k.1.int64, stride.1.int64, pad.1.int64, dilation.1.int64, ceil)
                return ck_pool2d_shape(
                    n: n.int64, h: h.int64, w: w.int64, c: c.int64, oh: output?.0.int64 ?? oh,
                    ow: output?.1.int64 ?? ow, kh: k.0.int64, kw: k.1.int64, stride_h: stride.0.int64,
                    stride_w: stride.1.int64, pad_h: pad.0.int64, pad_w: pad.1.int64, dilation_h: dilation.0.int64,
                    dilation_w: dilation.1.int64, count_include_pad: countIncludePad ? 1 : 0, x_stride: 0, y_stride: 0)
            }
            var testDescription: String {
                "\(n)x\(h)x\(w)x\(c), kernel \(k), stride \(stride), pad \(pad), dilation \(dilation)"
                    + (ceilMode ? ", ceil" : "")
            }
        }

        static let cases: [Case] = {
            var cases: [Case] = [
                .init(h: 1, w: 1, c: 1, k: (1, 1)),
                .init(h: 1, w: 1, c: 5, k: (3, 3), pad: (1, 1)),
                .init(h: 8, w: 9, c: 6, k: (2, 2), stride: (2, 2)),
                .init(h: 9, w: 8, c: 6, k: (2, 2), stride: (2, 2), ceilMode: true),
                .init(h: 7, w: 10, c: 6, k: (3, 2), stride: (1, 3), pad: (1, 0)),
                .init(h: 5, w: 5, c: 3, k: (2, 2), stride: (2, 2), pad: (1, 1), ceilMode: true),
                .init(h: 6, w: 7, c: 3, k: (5, 5), stride: (3, 3), pad: (2, 2), ceilMode: true),
            ]
            for c in [1, 4, 7, 16, 33, 64, 70] {
                cases.append(.init(n: 2, h: 9, w: 8, c: c, k: (3, 3), stride: (2, 2), pad: (1, 1)))
                cases.append(.init(n: 2, h: 9, w: 8, c: c, k: (3, 3), stride: (2, 2), ceilMode: true))
                cases.append(.init(n: 2, h: 6, w: 7, c: c, k: (3, 3), pad: (1, 1)))
            }
            return cases
        }()

        static let dilated: [Case] = [
            .init(n: 2, h: 9, w: 8, c: 10, k: (3, 3), pad: (1, 1), dilation: (2, 2)),
            .init(h: 9, w: 11, c: 10, k: (2, 3), stride: (2, 1), pad: (1, 1), dilation: (3, 4)),
        ]

        /// The sizes that torch.nn.MaxPool2d gives.
        @Test func outputSizes() {
            #expect(ck_pool_output_size(112, 3, 2, 1, 1, 0) == 56)
            #expect(ck_pool_output_size(112, 3, 2, 0, 1, 1) == 56)
            #expect(ck_pool_output_size(112, 3, 2, 0, 1, 0) == 55)
            #expect(ck_pool_output_size(5, 2, 2, 1, 1, 1) == 3)  // a 4th window would start in the right padding
            #expect(ck_pool_output_size(7, 3, 1, 1, 2, 0) == 5)
            #expect(ck_pool_output_size(2, 3, 2, 0, 1, 0) == 0)
            #expect(ck_pool_output_size(2, 3, 2, 0, 1, 1) == 1)
        }

        @Test(arguments: cases + dilated)
        func maximum(_ c: Case) {
            var shape = c.shape()
            var random = Random(8)
            let x = random.floats(c.n * c.h * c.w * c.c)
            // Ties, a NaN, and minus infinity, which a maximum has to report the place of, too.
            for i in 0..<x.count { x.pointer[i] = (x.pointer[i] * 4).rounded() }
            x.pointer[x.count / 2] = .nan
            x.pointer[x.count / 3] = -.infinity
            let count = c.n * Int(shape.oh * shape.ow) * c.c
            let expected = Floats(count), dy = random.floats(count)
            var argmax = [Int32](repeating: -1, count: count), expectedArgmax = argmax
            ck_max_pool_forward_f32_ref(&shape, x.pointer, expected.pointer, &expectedArgmax)
            var gradient = [Float](repeating: 0, count: x.count)
            for i in 0..<count {
                let image = i / (Int(shape.oh * shape.ow) * c.c)
                gradient[(image * c.h * c.w + Int(expectedArgmax[i])) * c.c + i % c.c] += dy.pointer[i]
            }
            let rows = shape.n * shape.oh
            atEveryLevel { level in
                let y = Floats(count), bare = Floats(count), dx = Floats(x.count)
                for (begin, end) in [(0, rows / 2), (rows / 2, rows)] {
                    ck_max_pool_forward_f32(&shape, begin, end, x.pointer, y.pointer, &argmax)
                }
                ck_max_pool_forward_f32(&shape, 0, rows, x.pointer, bare.pointer, nil)
                expectClose(y, expected, tolerance: 0, "maxima of \(c.testDescription), \(level)")
                expectClose(bare, expected, tolerance: 0, "maxima alone of \(c.testDescription), \(level)")
                expectClose(
                    argmax.map(Double.init), expectedArgmax.map(Double.init), tolerance: 0,
                    "places of \(c.testDescription), \(level)")
                for n in 0..<c.n.int64 {
                    ck_max_pool_backward_f32(&shape, n, n + 1, argmax, dy.pointer, dx.pointer)
                }
                expectClose(dx, Floats(gradient), tolerance: 1e-6, "gradient of \(c.testDescription), \(level)")
            }
        }

        @Test(arguments: cases)
        func average(_ c: Case) {
            for countIncludePad in [false, true] {
                let label = "\(c.testDescription), padding \(countIncludePad ? "counts" : "does not count")"
                hold(c.shape(countIncludePad: countIncludePad), label) { s, x, y in
                    ck_avg_pool_forward_f32_ref(s, x, y)
                } forward: { s, begin, end, x, y in
                    ck_avg_pool_forward_f32(s, begin, end, x, y)
                } backward: { s, begin, end, dy, dx in
                    ck_avg_pool_backward_f32(s, begin, end, dy, dx)
                }
            }
        }

        /// Image sides and output sides.
        static let adaptive: [[Int]] = [
            [7, 7, 1, 1], [7, 5, 3, 2], [6, 6, 6, 6], [3, 4, 7, 7], [13, 9, 6, 6], [1, 1, 1, 1], [10, 11, 1, 3],
        ]

        @Test(arguments: adaptive)
        func adaptiveAverage(_ sides: [Int]) {
            for channels in [1, 4, 13, 70] {
                let c = Case(n: 2, h: sides[0], w: sides[1], c: channels, k: (1, 1))
                hold(c.shape(output: (sides[2], sides[3])), "adaptive \(sides) of \(channels) channels") { s, x, y in
                    ck_adaptive_avg_pool_forward_f32_ref(s, x, y)
                } forward: { s, begin, end, x, y in
                    ck_adaptive_avg_pool_forward_f32(s, begin, end, x, y)
                } backward: { s, begin, end, dy, dx in
                    ck_adaptive_avg_pool_backward_f32(s, begin, end, dy, dx)
                }
            }
        }

        /// Input and output at a distance from pixel to pixel, as parts of wider arrays: forward without argmax.
        @Test func stridesBetweenPixels() {
            typealias Forward = (
                UnsafePointer<ck_pool2d_shape>, Int64, Int64, UnsafePointer<Float>, UnsafeMutablePointer<Float>
            ) -> Void
            let maximum: Forward = { ck_max_pool_forward_f32($0, $1, $2, $3, $4, nil) }
            let average: Forward = { ck_avg_pool_forward_f32($0, $1, $2, $3, $4) }
            let adaptive: Forward = { ck_adaptive_avg_pool_forward_f32($0, $1, $2, $3, $4) }
            for c in Self.cases {
                let windowed = c.shape(), sides = c.shape(output: (min(c.h, 2), min(c.w, 3))),
                    whole = c.shape(output: (1, 1))
                for (name, dense, forward) in [
                    ("maximum", windowed, maximum), ("average", windowed, average), ("adaptive", sides, adaptive),
                    ("global", whole, adaptive),
                ] {
                    holdStrides(dense, "\(name), \(c.testDescription)", forward)
                }
            }
        }

        private func holdStrides(
            _ dense: ck_pool2d_shape, _ label: String,
            _ forward: (
                UnsafePointer<ck_pool2d_shape>, Int64, Int64, UnsafePointer<Float>, UnsafeMutablePointer<Float>
            ) -> Void
        ) {
            var random = Random(10)
            let channels = Int(dense.c)
            let pixels = Int(dense.n * dense.h * dense.w), outputs = Int(dense.n * dense.oh * dense.ow)
            let x = random.floats(pixels * channels)
            for (xSlack, ySlack) in [(3, 0), (0, 5), (2, 7)] {
                let (xStride, yStride) = (channels + xSlack, channels + ySlack)
                var shape = dense, strided = dense
                (strided.x_stride, strided.y_stride) = (xStride.int64, yStride.int64)
                // Ends with the last pixel's channels; what lies between the pixels would show in a result.
                let spread = Floats((pixels - 1) * xStride + channels, filledWith: .nan)
                for i in 0..<x.count { spread.pointer[i / channels * xStride + i % channels] = x.pointer[i] }
                atEveryLevel { level in
                    let expected = Floats(outputs * channels),
                        y = Floats((outputs - 1) * yStride + channels, filledWith: 77)
                    let rows = shape.n * shape.oh
                    forward(&shape, 0, rows, x.pointer, expected.pointer)
                    for (begin, end) in [(rows / 2, rows), (0, rows / 2)] {
                        forward(&strided, begin, end, spread.pointer, y.pointer)
                    }
                    let wide = Floats(y.count, filledWith: 77)
                    for i in 0..<expected.count {
                        wide.pointer[i / channels * yStride + i % channels] = expected.pointer[i]
                    }
                    expectClose(
                        y, wide, tolerance: 0, "\(label), \(xStride) to \(yStride), \(level)")
                }
            }
        }

        /// Forward against the reference, and backward as the transpose of the reference: pooling is linear, so its
        /// effect on every unit input gives the gradient exactly.
        private func hold(
            _ shape: ck_pool2d_shape, _ label: String,
            reference: (UnsafePointer<ck_pool2d_shape>, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void,
            forward: (
                UnsafePointer<ck_pool2d_shape>, Int64, Int64, UnsafePointer<Float>, UnsafeMutablePointer<Float>
            ) -> Void,
            backward: (
                UnsafePointer<ck_pool2d_shape>, Int64, Int64, UnsafePointer<Float>, UnsafeMutablePointer<Float>
            ) -> Void
        ) {
            var shape = shape
            var random = Random(9)
            let x = random.floats(Int(shape.n * shape.h * shape.w * shape.c))
            let expected = Floats(Int(shape.n * shape.oh * shape.ow * shape.c)), dy = random.floats(expected.count)
            reference(&shape, x.pointer, expected.pointer)
            // One input pixel at a time, all channels and images together.
            var gradient = [Float](repeating: 0, count: x.count)
            let pixels = Int(shape.h * shape.w), channels = Int(shape.c)
            let perImage = Int(shape.oh * shape.ow) * channels
            for pixel in 0..<pixels {
                let unit = Floats(x.count), response = Floats(expected.count)
                for n in 0..<Int(shape.n) {
                    for c in 0..<channels { unit.pointer[(n * pixels + pixel) * channels + c] = 1 }
                }
                reference(&shape, unit.pointer, response.pointer)
                for i in 0..<expected.count {
                    gradient[(i / perImage * pixels + pixel) * channels + i % channels] +=
                        response.pointer[i] * dy.pointer[i]
                }
            }
            let rows = shape.n * shape.oh
            atEveryLevel { level in
                let y = Floats(expected.count, filledWith: .nan), dx = Floats(x.count, filledWith: 1)
                for (begin, end) in [(0, rows / 2), (rows / 2, rows)] {
                    forward(&shape, begin, end, x.pointer, y.pointer)
                }
                for n in 0..<shape.n { backward(&shape, n, n + 1, dy.pointer, dx.pointer) }
                expectClose(y, expected, tolerance: 1e-6, "\(label), \(level)")
                expectClose(dx, Floats(gradient.map { $0 + 1 }), tolerance: 1e-6, "gradient of \(label), \(level)")
            }
        }
    }
}
