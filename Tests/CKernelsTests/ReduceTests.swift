import CKernels
import Testing

extension KernelTests {
    @Suite struct Reduce {
        @Test(arguments: [0, 1, 5, 8, 31, 64, 65, 1000, 1024, 1025, 5000])
        func whole(_ n: Int) {
            var random = Random(n)
            let x = random.floats(n), y = random.floats(n)
            let sum = x.values.reduce(0.0) { $0 + Double($1) }
            let dot = zip(x.values, y.values).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            // Relative to the terms, since the sum itself may cancel.
            let scale = Double(n).squareRoot() * 1e-6 + 1e-12
            atEveryLevel { level in
                let s = ck_sum_f32(x.pointer, n.int64), d = ck_dot_f32(x.pointer, y.pointer, n.int64)
                #expect(abs(s - sum) <= scale, "sum of \(n) is \(s), expected \(sum), \(level)")
                #expect(abs(d - dot) <= scale, "dot of \(n) is \(d), expected \(dot), \(level)")
                #expect(ck_max_f32(x.pointer, n.int64) == x.values.max() ?? -.infinity, "maximum of \(n), \(level)")
                for at in [0, n / 2, n - 1] where n > 0 {
                    let withNaN = x.copy
                    withNaN.pointer[at] = .nan
                    #expect(
                        ck_max_f32(withNaN.pointer, n.int64).isNaN, "maximum of \(n) with NaN at \(at), \(level)")
                }
            }
        }

        @Test func sumOfManyStaysExact() {
            let n = 3_000_000
            let x = Floats(n, filledWith: 0.1)
            atEveryLevel { level in
                let sum = ck_sum_f32(x.pointer, n.int64), expected = Double(n) * Double(Float(0.1))
                #expect(abs(sum - expected) < 1e-6 * expected, "\(sum), expected \(expected), \(level)")
            }
        }

        @Test(arguments: Norm.sizes)
        func rowsAndColumns(_ size: [Int]) {
            let rows = size[0], cols = size[1], r = rows.int64, c = cols.int64
            var random = Random(rows * 1000 + cols)
            let a = random.floats(rows * cols), b = random.floats(rows * cols)
            func row(_ i: Int, _ term: (Double) -> Double) -> Double {
                a.values[i * cols..<(i + 1) * cols].reduce(0) { $0 + term(Double($1)) }
            }
            atEveryLevel { level in
                let label = "\(rows)x\(cols), \(level)"
                expectSums("column sums \(label)", cols) {
                    ck_sum_columns_f32_ref(a.pointer, r, c, $0)
                } _: {
                    ck_sum_columns_f32(a.pointer, r, c, $0)
                }
                expectSums("column dots \(label)", cols) {
                    ck_dot_columns_f32_ref(a.pointer, b.pointer, r, c, $0)
                } _: {
                    ck_dot_columns_f32(a.pointer, b.pointer, r, c, $0)
                }
                let y = Floats(rows)
                ck_sum_rows_f32(a.pointer, r, c, y.pointer)
                expectClose(
                    y.values.map(Double.init), (0..<rows).map { row($0) { $0 } }, tolerance: 2e-6, "row sums \(label)")
                ck_norm_rows_f32(a.pointer, r, c, y.pointer)
                expectClose(
                    y.values.map(Double.init), (0..<rows).map { row($0) { $0 * $0 }.squareRoot() }, tolerance: 1e-6,
                    "row norms \(label)")
            }
        }

        @Test(arguments: Norm.sizes)
        func softmax(_ size: [Int]) {
            let rows = size[0], cols = size[1], r = rows.int64, c = cols.int64
            var random = Random(rows * 1000 + cols)
            let x = random.floats(rows * cols, scale: 8), dy = random.floats(rows * cols)
            // Row 0 is far from 0, where exp without the maximum would overflow or vanish.
            for i in 0..<cols { x.pointer[i] += 200 }
            if rows > 2 {
                for i in 0..<cols { x.pointer[cols + i] -= 300 }
                if cols > 1 { x.pointer[cols] = -.infinity }
            }
            let expected = Floats(x.count), expectedLog = Floats(x.count)
            ck_softmax_forward_f32_ref(x.pointer, r, c, expected.pointer)
            ck_log_softmax_forward_f32_ref(x.pointer, r, c, expectedLog.pointer)
            // dx = y (dy - sum(dy y)), and dy - exp(y) sum(dy) for the logarithm.
            var gradient = [Double](), logGradient = [Double]()
            for i in 0..<rows {
                let row = i * cols..<(i + 1) * cols
                let dot = row.reduce(0.0) { $0 + Double(dy.pointer[$1]) * Double(expected.pointer[$1]) }
                let sum = row.reduce(0.0) { $0 + Double(dy.pointer[$1]) }
                gradient += row.map { Double(expected.pointer[$0]) * (Double(dy.pointer[$0]) - dot) }
                logGradient += row.map { Double(dy.pointer[$0]) - Double(expected.pointer[$0]) * sum }
            }
            atEveryLevel { level in
                let label = "\(rows)x\(cols), \(level)"
                let y = x.copy, log = x.copy, dx = dy.copy, logDx = dy.copy
                ck_softmax_forward_f32(y.pointer, r, c, y.pointer)
                ck_log_softmax_forward_f32(log.pointer, r, c, log.pointer)
                ck_softmax_backward_f32(expected.pointer, dx.pointer, r, c, dx.pointer)
                ck_log_softmax_backward_f32(expectedLog.pointer, logDx.pointer, r, c, logDx.pointer)
                expectClose(y, expected, tolerance: 2e-6, "softmax \(label)")
                expectClose(log, expectedLog, tolerance: 2e-6, "log softmax \(label)")
                expectClose(dx.values.map(Double.init), gradient, tolerance: 2e-6, "softmax gradient \(label)")
                expectClose(
                    logDx.values.map(Double.init), logGradient, tolerance: 4e-6, "log softmax gradient \(label)")
            }
        }

        @Test func softmaxOfNaNIsNaN() {
            let x = Floats([1, 2, .nan] + [Float](repeating: 0, count: 20)), y = Floats(23)
            atEveryLevel { level in
                ck_softmax_forward_f32(x.pointer, 1, 23, y.pointer)
                expectClose(y, Floats(23, filledWith: .nan), tolerance: 0, level)
            }
        }
    }
}
