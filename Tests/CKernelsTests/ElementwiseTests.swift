import CKernels
import Testing

extension KernelTests {
    @Suite struct Elementwise {
        static let activations = [
            CK_RELU, CK_RELU6, CK_HARDSWISH, CK_HARDSIGMOID, CK_SILU, CK_GELU, CK_SIGMOID, CK_TANH,
        ]
        static let unaries = [CK_EXP, CK_LOG, CK_SQRT, CK_RSQRT, CK_NEG, CK_ABS, CK_SQUARE, CK_RECIPROCAL]
        static let binaries = [CK_ADD, CK_SUB, CK_MUL, CK_DIV, CK_MAX, CK_MIN]

        /// Lengths around every vector width.
        static let lengths = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100]

        /// A fine grid over the range in which the activations bend, kinks included, and the far ends.
        static let grid: [Float] =
            stride(from: -20, through: 20, by: 0.0078125).map { Float($0) }
            + [-3, 3, 6, -0.0, 1e-30, -1e-30, 1e-6, 50, -50, 90, -90, 104, 1e4, -1e4, .nan]

        @Test(arguments: activations.map(\.rawValue))
        func activation(_ raw: UInt32) {
            let f = ck_activation(raw)
            var random = Random(1)
            let x = Floats(Self.grid), dy = random.floats(x.count)
            let expected = Floats(x.count), expectedGradient = Floats(x.count)
            ck_activation_forward_f32_ref(f, x.pointer, expected.pointer, x.count.int64)
            ck_activation_backward_f32_ref(f, x.pointer, dy.pointer, expectedGradient.pointer, x.count.int64)
            atEveryLevel { level in
                let y = x.copy
                ck_activation_forward_f32(f, y.pointer, y.pointer, y.count.int64)
                // Element by element: beside 1e4, an error of 1e-4 of a small value would not be seen.
                for i in 0..<x.count {
                    let a = y.pointer[i], b = expected.pointer[i]
                    let same = abs(a - b) <= 4e-7 * abs(b) + 2e-7 || (a.isNaN && b.isNaN)
                    if !same { Issue.record("\(f) of \(x.pointer[i]) is \(a), expected \(b), \(level)") }
                }
                let dx = Floats(x.count)
                ck_activation_backward_f32(f, x.pointer, dy.pointer, dx.pointer, x.count.int64)
                expectClose(dx, expectedGradient, tolerance: 1e-6, "\(f) backward, \(level)")
                for n in Self.lengths {
                    let part = Floats(Array(expected.values.suffix(n)))
                    let y = Floats(n)
                    ck_activation_forward_f32(f, x.pointer + (x.count - n), y.pointer, n.int64)
                    expectClose(y, part, tolerance: 3e-6, "\(f) of \(n), \(level)")
                }
            }
        }

        @Test(arguments: unaries.map(\.rawValue))
        func unary(_ raw: UInt32) {
            let f = ck_unary(raw)
            let positive: Set<UInt32> = [CK_LOG.rawValue, CK_SQRT.rawValue, CK_RSQRT.rawValue]
            let values = positive.contains(raw) ? Self.grid.map { abs($0) } : Self.grid
            atEveryLevel { level in
                for n in Self.lengths + [values.count] {
                    let x = Floats(Array(values.suffix(n))), y = Floats(n), expected = Floats(n)
                    ck_unary_f32_ref(f, x.pointer, expected.pointer, n.int64)
                    ck_unary_f32(f, x.pointer, y.pointer, n.int64)
                    // Element by element: exp spans all magnitudes.
                    for i in 0..<n {
                        let a = y.pointer[i], b = expected.pointer[i]
                        let same =
                            a == b || (a.isNaN && b.isNaN) || abs(a - b) <= 1.5e-7 * abs(b)
                            || abs(a - b) <= .leastNonzeroMagnitude
                        #expect(same, "\(f) of \(x.pointer[i]) is \(a), expected \(b), \(level)")
                    }
                }
            }
        }

        @Test(arguments: [1, 0.7, -3.1e-3, 123.456, 1e-38, .leastNonzeroMagnitude, 0, .infinity, .nan] as [Float])
        func scalingIsUndone(_ factor: Float) {
            var random = Random(7)
            let special: [Float] = [
                0, -0.0, 1, .leastNonzeroMagnitude, -1e-38, .infinity, .nan, 3e38, 16_777_215, 8_388_609,
            ]
            let x = Floats(special + random.floats(3000, scale: 0.1).values)
            // Units in the last place by which the product is off, besides its rounding.
            for (bits, off): (Int32, Int) in [(2, 0), (8, 0), (8, 90), (8, 2000)] {
                atEveryLevel { level in
                    for n in Self.lengths + [255, 256, 257, x.count] {
                        let y = Floats(n), back = Floats(n, filledWith: 9)
                        let losses = UnsafeMutablePointer<UInt8>.allocate(capacity: (n * Int(bits) + 7) / 8)
                        defer { losses.deallocate() }
                        ck_affine_f32(factor, 0, x.pointer, y.pointer, n.int64)
                        if off > 0 {
                            for i in 0..<n {
                                let units = UInt32(random.next() % UInt64(off))
                                y.pointer[i] = Float(bitPattern: y.pointer[i].bitPattern &+ units)
                            }
                        }
                        let others = ck_scale_losses_f32(factor, x.pointer, y.pointer, n.int64, bits, losses)
                        ck_scale_undo_f32(factor, y.pointer, losses, bits, back.pointer, n.int64)
                        var count = 0
                        for i in 0..<n {
                            let isBeyond = bits == 8 ? losses[i] == 255 : losses[i / 4] >> (i % 4 * 2) & 3 == 3
                            if isBeyond {
                                count += 1
                            } else if back.pointer[i].bitPattern != x.pointer[i].bitPattern {
                                Issue.record("\(x.pointer[i]) times \(factor) became \(back.pointer[i]), \(level)")
                            }
                        }
                        #expect(count == others, "\(level)")
                        // Where neither the factor nor the product is out of the ordinary, next to nothing is lost for good.
                        if abs(factor) > 1e-30, abs(factor) < 1e30, off < 100 {
                            #expect(others <= special.count + n / 256, "\(factor), \(bits) bits, \(level)")
                        }
                    }
                }
            }
        }

        @Test func exponentialIsWithinOneUnitInTheLastPlace() {
            // Some 500,000 arguments between underflow and overflow.
            var x: [Float] = []
            var value: Float = -104
            while value < 89.5 {
                x.append(value)
                value += 0.000390625 * 0.98765
            }
            x += [.infinity, -.infinity, 88.722839, 88.72284, -87.33655, -103.97, -103.98, 0]
            atEveryLevel { level in
                let input = Floats(x), y = Floats(x.count), expected = Floats(x.count)
                ck_unary_f32(CK_EXP, input.pointer, y.pointer, x.count.int64)
                ck_unary_f32_ref(CK_EXP, input.pointer, expected.pointer, x.count.int64)
                var worst: Int32 = 0, at = 0
                for i in x.indices {
                    let difference = abs(
                        Int32(bitPattern: y.pointer[i].bitPattern)
                            - Int32(bitPattern: expected.pointer[i].bitPattern))
                    if difference > worst { (worst, at) = (difference, i) }
                }
                #expect(
                    worst <= 1,
                    "exp(\(x[at])) is \(y.pointer[at]), expected \(expected.pointer[at]): \(worst) ulp, \(level)")
            }
        }

        struct BinaryCase: CustomTestStringConvertible, Sendable {
            var rows: Int, cols: Int, aRow: Int, aCol: Int, bRow: Int, bCol: Int
            var testDescription: String { "\(rows)x\(cols), a \(aRow),\(aCol), b \(bRow),\(bCol)" }
        }
        static let binaryCases: [BinaryCase] = [
            .init(rows: 1, cols: 1, aRow: 1, aCol: 1, bRow: 1, bCol: 1),
            .init(rows: 5, cols: 7, aRow: 7, aCol: 1, bRow: 7, bCol: 1),
            .init(rows: 5, cols: 37, aRow: 37, aCol: 1, bRow: 0, bCol: 1),
            .init(rows: 5, cols: 37, aRow: 37, aCol: 1, bRow: 1, bCol: 0),
            .init(rows: 5, cols: 37, aRow: 1, aCol: 0, bRow: 37, bCol: 1),
            .init(rows: 5, cols: 19, aRow: 0, aCol: 1, bRow: 1, bCol: 0),
            .init(rows: 3, cols: 19, aRow: 19, aCol: 1, bRow: 0, bCol: 0),
            .init(rows: 3, cols: 19, aRow: 0, aCol: 0, bRow: 0, bCol: 0),
            .init(rows: 21, cols: 1, aRow: 1, aCol: 0, bRow: 1, bCol: 1),
            .init(rows: 21, cols: 1, aRow: 0, aCol: 0, bRow: 1, bCol: 1),
            .init(rows: 21, cols: 1, aRow: 3, aCol: 1, bRow: 1, bCol: 1),
            .init(rows: 4, cols: 16, aRow: 20, aCol: 1, bRow: 18, bCol: 1),
            .init(rows: 0, cols: 16, aRow: 20, aCol: 1, bRow: 18, bCol: 1),
        ]

        @Test(arguments: binaryCases)
        func binary(_ c: BinaryCase) {
            var random = Random(7)
            func operand(_ row: Int, _ col: Int) -> Floats {
                let x = random.floats(max(c.rows - 1, 0) * row + max(c.cols - 1, 0) * col + 1)
                if x.count > 3 { x.pointer[2] = .nan }
                return x
            }
            let a = operand(c.aRow, c.aCol), b = operand(c.bRow, c.bCol)
            var shape = ck_binary_shape(
                rows: c.rows.int64, cols: c.cols.int64, a_row: c.aRow.int64, a_col: c.aCol.int64, b_row: c.bRow.int64,
                b_col: c.bCol.int64)
            atEveryLevel { level in
                for op in Self.binaries {
                    let y = Floats(c.rows * c.cols), expected = Floats(c.rows * c.cols)
                    ck_binary_f32_ref(op, &shape, a.pointer, b.pointer, expected.pointer)
                    ck_binary_f32(op, &shape, a.pointer, b.pointer, y.pointer)
                    expectClose(y, expected, tolerance: 1e-7, "\(op) \(c.testDescription), \(level)")
                    if c.aRow == c.cols && c.aCol == 1 && a.count == y.count {
                        let inPlace = a.copy
                        ck_binary_f32(op, &shape, inPlace.pointer, b.pointer, inPlace.pointer)
                        expectClose(inPlace, expected, tolerance: 1e-7, "\(op) \(c.testDescription) in place, \(level)")
                    }
                }
            }
        }

        @Test func linear() {
            atEveryLevel { level in
                for n in Self.lengths {
                    var random = Random(n)
                    let x = random.floats(n, scale: 3), y = random.floats(n)
                    let affine = Floats(n), sum = y.copy, clamped = Floats(n), filled = Floats(n)
                    if n > 2 { x.pointer[1] = .nan }
                    ck_affine_f32(2.5, -1, x.pointer, affine.pointer, n.int64)
                    ck_axpy_f32(-0.5, x.pointer, sum.pointer, n.int64)
                    ck_clamp_f32(-1, 2, x.pointer, clamped.pointer, n.int64)
                    ck_fill_f32(3, filled.pointer, n.int64)
                    expectClose(affine, Floats(x.values.map { 2.5 * $0 - 1 }), tolerance: 1e-6, "affine \(n), \(level)")
                    expectClose(
                        sum, Floats(zip(x.values, y.values).map { $1 - 0.5 * $0 }), tolerance: 1e-6,
                        "axpy \(n), \(level)")
                    expectClose(
                        clamped, Floats(x.values.map { $0.isNaN ? $0 : min(max($0, -1), 2) }), tolerance: 0,
                        "clamp \(n), \(level)")
                    expectClose(filled, Floats(n, filledWith: 3), tolerance: 0, "fill \(n), \(level)")
                }
            }
        }
    }
}
