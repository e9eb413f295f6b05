import CKernels
import Testing

/// Products by AMX: see amx_kernels.h.
extension KernelTests.PackedConvolution {
    /// Sums of AMX's products are more exact than those of multiply-adds, of numbers of all magnitudes.
    @Test(arguments: [(0, 0), (-30, 30)]) func amxIsMoreExactThanVectors(_ least: Int, _ most: Int) {
        let (rows, c, o) = (64, 1000, 96)
        var random = Random(77)
        let x = random.floats(rows * c), weight = random.floats(o * c)
        for index in 0..<rows * c where most > least {
            x.pointer[index] *= Float(sign: .plus, exponent: least + index % (most - least), significand: 1)
        }
        var errors: [String: Double] = [:]
        atEveryLevel { level in
            let layout = level == "amx" ? CK_WEIGHTS_AMX : CK_WEIGHTS_VECTORS
            let y = Self.product(x, weight, rows: rows, c: c, o: o, layout: layout)
            // Relative to what the products of a sum are together.
            var squares = 0.0
            for row in 0..<rows {
                for k in 0..<o {
                    var (sum, size) = (0.0, 0.0)
                    for i in 0..<c {
                        let product = Double(x.pointer[row * c + i]) * Double(weight.pointer[k * c + i])
                        sum += product
                        size += product * product
                    }
                    let error = Double(y.pointer[row * o + k]) - sum
                    squares += error * error / size
                }
            }
            errors[level] = (squares / Double(rows * o)).squareRoot()
        }
        if let amx = errors["amx"], let vectors = errors["avx512"] { #expect(amx < 0.7 * vectors, "\(errors)") }
    }

    /// What sums of positive numbers leave out has no sign: it would have one if parts were cut off and not rounded.
    @Test func amxErrorsHaveNoSign() {
        let (rows, c, o) = (64, 64, 96)
        var random = Random(79)
        let x = random.floats(rows * c), weight = random.floats(o * c)
        for index in 0..<rows * c { x.pointer[index] = 1 + abs(x.pointer[index]) }
        for index in 0..<o * c { weight.pointer[index] = 1 + abs(weight.pointer[index]) }
        atEveryLevel { level in
            let layout = level == "amx" ? CK_WEIGHTS_AMX : CK_WEIGHTS_VECTORS
            let y = Self.product(x, weight, rows: rows, c: c, o: o, layout: layout)
            var error = 0.0
            for index in 0..<rows * o {
                var sum = 0.0
                for i in 0..<c {
                    sum += Double(x.pointer[index / o * c + i]) * Double(weight.pointer[index % o * c + i])
                }
                error += Double(y.pointer[index]) / sum - 1
            }
            #expect(abs(error / Double(rows * o)) < 1e-8, "\(level): \(error / Double(rows * o))")
        }
    }

    @Test func amxIsForManyRowsAndFullTiles() {
        atEveryLevel { level in
            for (rows, c, o, threads, suits): (Int64, Int64, Int64, Int64, Bool) in [
                (784, 256, 64, 2, true), (392, 512, 2048, 2, true), (196, 512, 2048, 2, true),
                (196, 2048, 512, 2, false), (196, 2048, 512, 1, true), (49, 512, 2048, 1, false),
                (361, 96, 576, 2, true), (196, 96, 576, 2, false), (3136, 24, 144, 2, false),
                (3136, 96, 24, 2, false), (784, 40, 240, 2, false), (784, 240, 80, 2, true),
            ] {
                var conv = Case(rows: rows, c: c, o: o).conv
                ck_packed_conv_prepare(&conv, threads)
                #expect(conv.amx == (suits && level == "amx"), "\(rows) x \(c) x \(o), \(level)")
                conv.weight_layout = CK_WEIGHTS_VECTORS
                ck_packed_conv_prepare(&conv, threads)
                #expect(!conv.amx)
            }
        }
    }
}
