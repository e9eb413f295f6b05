import CKernels
import Testing

extension KernelTests {
    @Suite struct Layout {
        @Test(arguments: [
            [1, 1, 1], [2, 3, 5], [1, 4, 4], [1, 8, 8], [3, 16, 16], [2, 9, 17], [1, 33, 20], [2, 3, 100], [2, 100, 3],
            [1, 49, 70], [0, 4, 4],
        ])
        func transpose(_ size: [Int]) {
            let (batch, rows, cols) = (size[0], size[1], size[2])
            var random = Random(1)
            let x = random.floats(batch * rows * cols)
            let expected = Floats(
                (0..<x.count).map { i in
                    let (n, c, r) = (i / (rows * cols), i / rows % cols, i % rows)
                    return x.pointer[n * rows * cols + r * cols + c]
                })
            atEveryLevel { level in
                let y = Floats(x.count, filledWith: .nan)
                ck_transpose_f32(x.pointer, batch.int64, rows.int64, cols.int64, y.pointer)
                expectClose(y, expected, tolerance: 0, "\(size), \(level)")
            }
        }

        struct Strided: CustomTestStringConvertible, Sendable {
            var sizes: [Int], strides: [Int]
            var testDescription: String { "sizes \(sizes), strides \(strides)" }
        }
        static let strided: [Strided] = [
            .init(sizes: [], strides: []),
            .init(sizes: [1], strides: [7]),
            .init(sizes: [5, 0, 3], strides: [3, 3, 1]),
            .init(sizes: [21], strides: [1]),
            .init(sizes: [21], strides: [3]),
            .init(sizes: [21], strides: [-2]),
            .init(sizes: [21], strides: [0]),
            .init(sizes: [3, 19], strides: [0, 1]),
            .init(sizes: [3, 19], strides: [1, 0]),
            .init(sizes: [4, 5, 6], strides: [30, 6, 1]),
            .init(sizes: [2, 1, 19, 3], strides: [57, 99, 3, 1]),
            .init(sizes: [2, 19, 9, 7], strides: [19 * 63, 1, 19 * 7, 19]),  // NHWC to NCHW
            .init(sizes: [2, 3, 17, 8], strides: [408, 8, 24, 1]),  // heads
            .init(sizes: [2, 3, 8, 17], strides: [408, 8, 1, 24]),  // heads, transposed
            .init(sizes: [6, 5], strides: [-5, 1]),
            .init(sizes: [6, 5], strides: [5, -1]),
            .init(sizes: [6, 4], strides: [1, 1]),  // windows that overlap
            .init(sizes: [6, 4], strides: [1, 2]),
            .init(sizes: [2, 3, 1, 2, 2, 3, 2, 4], strides: [300, 100, 5, 50, 24, 8, 4, 1]),
            .init(sizes: [3, 2, 5, 4], strides: [1, 60, 3, 15]),
        ]

        @Test(arguments: strided)
        func gatherAndScatter(_ c: Strided) {
            // Where the elements are, the first of them as far into the array as negative strides go back.
            var offsets = [0]
            for (size, stride) in zip(c.sizes, c.strides) {
                offsets = offsets.flatMap { base in (0..<size).map { base + $0 * stride } }
            }
            let low = offsets.min() ?? 0, high = offsets.max() ?? 0
            var random = Random(2)
            let x = random.floats(high - low + 1), y = random.floats(offsets.count)
            var sums = x.values
            for (i, offset) in offsets.enumerated() { sums[offset - low] += y.pointer[i] }
            let sizes = c.sizes.map(\.int64), strides = c.strides.map(\.int64)
            atEveryLevel { level in
                let gathered = Floats(offsets.count, filledWith: .nan), scattered = x.copy
                ck_gather_strided_f32(x.pointer - low, sizes.count.int64, sizes, strides, gathered.pointer)
                ck_scatter_add_strided_f32(y.pointer, sizes.count.int64, sizes, strides, scattered.pointer - low)
                expectClose(
                    gathered, Floats(offsets.map { x.pointer[$0 - low] }), tolerance: 0,
                    "gather \(c.testDescription), \(level)")
                expectClose(scattered, Floats(sums), tolerance: 1e-6, "scatter \(c.testDescription), \(level)")
            }
        }

        @Test func conversions() {
            let all = (0...UInt16.max).map { $0 }
            let doubles = (0..<37).map { 1 / Double($0 + 3) } + [.leastNonzeroMagnitude, 1e300, -.infinity, .nan]
            // Sign 1 bit, exponent 5, mantissa 10.
            let halves = all.map { bits -> Float in
                let sign: Float = bits & 0x8000 == 0 ? 1 : -1
                let exponent = Int(bits >> 10 & 31), mantissa = Float(bits & 1023)
                if exponent == 31 { return mantissa == 0 ? sign * .infinity : .nan }
                if exponent == 0 { return sign * mantissa * 0x1p-24 }
                return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + mantissa / 1024)
            }
            let brains = all.map { Float(bitPattern: UInt32($0) << 16) }
            atEveryLevel { level in
                let y = Floats(all.count)
                ck_f16_to_f32(all, y.pointer, all.count.int64)
                expectClose(y, Floats(halves), tolerance: 0, "float16, \(level)")
                #expect(y.pointer[0x8000].sign == .minus)
                ck_bf16_to_f32(all, y.pointer, all.count.int64)
                expectClose(y, Floats(brains), tolerance: 0, "bfloat16, \(level)")
                let z = Floats(doubles.count)
                ck_f64_to_f32(doubles, z.pointer, doubles.count.int64)
                expectClose(z, Floats(doubles.map { Float($0) }), tolerance: 0, "float64, \(level)")
            }
        }
    }
}
