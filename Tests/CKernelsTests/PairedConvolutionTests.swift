import CKernels
import Testing

/// Products whose terms are multiplied in pairs: see paired.h.
extension KernelTests.PackedConvolution {
    /// Products in pairs are about as exact as others, relative to the norms of the row and the weights, for numbers without
    /// a sign, rows and weights of all magnitudes, and some in them that are much larger than the rest.
    @Test func pairedIsAboutAsExactAsVectors() {
        let (rows, c, o) = (72, 500, 96)
        var random = Random(80)
        let x = random.floats(rows * c), weight = random.floats(o * c), bias = Floats(o)
        func scaled(_ value: Float, by exponent: Int) -> Float {
            value * Float(sign: .plus, exponent: exponent, significand: 1)
        }
        for index in 0..<rows * c {
            let row = index / c
            if row % 3 == 0 { x.pointer[index] = max(0, x.pointer[index]) }
            x.pointer[index] = scaled(
                x.pointer[index], by: (row - 30) * 2 + (row % 2 == 0 && index % c == 7 ? 8 : 0))
        }
        for index in 0..<o * c {
            let k = index / c
            weight.pointer[index] = scaled(
                weight.pointer[index], by: k % 20 - 10 + (k % 2 == 0 && index % c == 9 ? 6 : 0))
        }
        var errors: [ck_weight_layout.RawValue: Double] = [:]
        Self.eachLayout { level, layout in
            guard level == "avx512" else { return }
            let y = Self.product(x, weight, bias, rows: rows, c: c, o: o, layout: layout)
            var squares = 0.0
            for row in 0..<rows {
                for k in 0..<o {
                    var (sum, rowSquares, weightSquares) = (0.0, 0.0, 0.0)
                    for i in 0..<c {
                        let (a, b) = (Double(x.pointer[row * c + i]), Double(weight.pointer[k * c + i]))
                        sum += a * b
                        rowSquares += a * a
                        weightSquares += b * b
                    }
                    let error = (Double(y.pointer[row * o + k]) - sum) / (rowSquares * weightSquares).squareRoot()
                    squares += error * error
                }
            }
            errors[layout.rawValue] = (squares / Double(rows * o)).squareRoot()
        }
        if let paired = errors[CK_WEIGHTS_PAIRED.rawValue], let vectors = errors[CK_WEIGHTS_VECTORS.rawValue] {
            #expect(paired < 2.5 * vectors && paired > 0, "\(errors)")
        }
    }

    /// Where cores add beside their multiplications, and rows and outputs are long and many enough to pay for the sums of both.
    @Test func pairsSuitZen4() {
        func isPaired(c: Int64 = 64, o: Int64 = 256, rows: Int64 = 196, groups: Int64 = 1, kernel: Int64 = 1)
            -> Bool
        {
            var conv = Case(rows: rows, c: c, o: o, kernel: kernel, width: 14, groups: groups).conv
            ck_packed_conv_prepare(&conv, 2)
            let chosen = conv.paired
            conv.weight_layout = CK_WEIGHTS_VECTORS
            ck_packed_conv_prepare(&conv, 2)
            #expect(!conv.paired)
            return chosen
        }
        atEveryLevel(choosingFor: CK_CORES_ZEN4) { level in
            let suits = level == "avx512"
            #expect(isPaired() == suits && isPaired(rows: 1) == suits && isPaired(kernel: 3) == suits, "\(level)")
            #expect(isPaired(c: 24, o: 128) == suits && isPaired(c: 96, o: 32) == suits, "\(level)")
            #expect(
                !isPaired(c: 16) && !isPaired(o: 24) && !isPaired(c: 32, o: 64) && !isPaired(groups: 2), "\(level)")
        }
        for cores in [CK_CORES_ZEN5, CK_CORES_INTEL] {
            atEveryLevel(choosingFor: cores) { #expect(!isPaired(), "\($0)") }
        }
    }

    /// Pixels of three channels, of which the rows of a tile have planes in common: exact for images of all magnitudes, and what
    /// is no number in an image stays in the results that read it.
    @Test func pixelsOfThreeChannelsKeepToThemselves() {
        let (side, k, pad, o) = (29, 7, 3, 40)
        var conv = ck_packed_conv()
        (conv.shape.n, conv.shape.h, conv.shape.w, conv.shape.c) = (1, side.int64, side.int64, 3)
        (conv.shape.oh, conv.shape.ow, conv.shape.o) = (side.int64, side.int64, o.int64)
        (conv.shape.kh, conv.shape.kw, conv.shape.groups) = (k.int64, k.int64, 1)
        (conv.shape.pad_top, conv.shape.pad_left) = (pad.int64, pad.int64)
        (conv.shape.stride_h, conv.shape.stride_w, conv.shape.dilation_h, conv.shape.dilation_w) = (1, 1, 1, 1)
        conv.strides = ck_strides(x: 3, y: o.int64, residual: 0)
        conv.epilogue = ck_epilogue(activation: CK_IDENTITY, combine: CK_COMBINE_NONE)
        conv.mixes_rows = true
        var random = Random(82)
        let image = random.floats(side * side * 3), weight = random.floats(o * k * k * 3), bias = random.floats(o)
        func result(_ x: Floats) -> Floats {
            let packed = Floats(Int(ck_packed_conv_weights(&conv))), y = Floats(side * side * o, filledWith: .nan)
            ck_packed_conv_pack(&conv, weight.pointer, packed.pointer)
            Self.run(
                conv,
                ck_operands(x: x.pointer, weight: packed.pointer, bias: bias.pointer, residual: nil, y: y.pointer))
            return y
        }
        Self.eachLayout { level, layout in
            guard layout == CK_WEIGHTS_PAIRED else { return }
            conv.weight_layout = layout
            ck_packed_conv_prepare(&conv, 2)
            #expect(conv.paired_pixels)
            let zeros = result(Floats(side * side * 3))
            for index in 0..<zeros.count { #expect(zeros.pointer[index] == bias.pointer[index % o], "\(level)") }

            let plain = result(image), scaled = Floats(image.count)
            for magnitude: Float in [255, 1e36] {
                for i in 0..<image.count { scaled.pointer[i] = image.pointer[i] * magnitude }
                let y = result(scaled), expected = Floats(y.count)
                for i in 0..<y.count {
                    expected.pointer[i] = plain.pointer[i] - bias.pointer[i % o]
                    y.pointer[i] = (y.pointer[i] - bias.pointer[i % o]) / magnitude
                }
                expectClose(y, expected, tolerance: 1e-5, "times \(magnitude)")
            }

            for broken: Float in [.nan, .infinity] {
                for i in 0..<image.count { scaled.pointer[i] = image.pointer[i] }
                scaled.pointer[(10 * side + 13) * 3 + 1] = broken
                let y = result(scaled)
                for index in 0..<y.count {
                    let (row, column) = (index / o / side, index / o % side)
                    let reads = abs(row - 10) <= pad && abs(column - 13) <= pad
                    #expect(y.pointer[index].isFinite != reads, "\(broken) at \(row), \(column)")
                    if !reads { #expect(abs(y.pointer[index] - plain.pointer[index]) < 1e-4) }
                }
            }
            let packed = Floats(Int(ck_packed_conv_weights(&conv))), unpacked = Floats(weight.count, filledWith: .nan)
            ck_packed_conv_pack(&conv, weight.pointer, packed.pointer)
            ck_packed_conv_unpack_panels(&conv, packed.pointer, unpacked.pointer, 0, conv.panels)
            #expect(unpacked.values == weight.values)
        }
    }
}
