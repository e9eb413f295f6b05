import CKernels
import Testing

/// What the drawn problems of InferenceConvolution are too small for: blocks of a sum's terms and of rows, and packing
/// in parts.
extension KernelTests {
    @Suite struct PackedConvolution {
        /// Rows of a Linear or pixels of an image; all have too many weights for the second-level cache.
        struct Case {
            var rows: Int64, c: Int64, o: Int64
            var kernel: Int64 = 1
            var width: Int64 = 0
            var groups: Int64 = 1
            var mixesRows = false
            /// With a kernel of 1: how many have an equal part of the rows.
            var images: Int64 = 1

            var conv: ck_packed_conv {
                var conv = ck_packed_conv()
                conv.shape.n = images
                (conv.shape.h, conv.shape.w) = kernel == 1 ? (1, rows / images) : (rows / width, width)
                (conv.shape.oh, conv.shape.ow) = (conv.shape.h, conv.shape.w)
                (conv.shape.c, conv.shape.o, conv.shape.groups) = (c, o, groups)
                (conv.shape.kh, conv.shape.kw) = (kernel, kernel)
                (conv.shape.pad_top, conv.shape.pad_left) = (kernel / 2, kernel / 2)
                (conv.shape.stride_h, conv.shape.stride_w, conv.shape.dilation_h, conv.shape.dilation_w) = (1, 1, 1, 1)
                conv.strides = ck_strides(x: c + 3, y: o + 5, residual: o)
                conv.epilogue = ck_epilogue(activation: CK_RELU, combine: CK_COMBINE_ADD_BEFORE)
                conv.mixes_rows = mixesRows
                return conv
            }

            var weights: Int { Int(o * kernel * kernel * (c / groups)) }
        }

        static let cases = [
            Case(rows: 1, c: 2100, o: 97),  // one row, terms in three blocks, a panel of one channel
            Case(rows: 8, c: 1500, o: 200),
            Case(rows: 49, c: 2050, o: 72),  // rows that are no multiple of a tile
            Case(rows: 260, c: 1030, o: 129),  // several blocks of tiles
            Case(rows: 260, c: 1030, o: 300, mixesRows: true),  // Strassen's products
            Case(rows: 301, c: 2056, o: 420, mixesRows: true),  // terms in two blocks, and two blocks of rows
            Case(rows: 250, c: 2042, o: 330, mixesRows: true, images: 5),  // whose tiles are those of several images
            Case(rows: 170, c: 770, o: 300, mixesRows: true, images: 10),  // low tiles
            Case(rows: 640, c: 300, o: 270, mixesRows: true),  // several blocks of rows
            Case(rows: 35, c: 170, o: 90, kernel: 3, width: 7),  // blocks of whole taps
            Case(rows: 15, c: 1100, o: 20, kernel: 3, width: 5),  // blocks of parts of a tap
            Case(rows: 35, c: 340, o: 180, kernel: 3, width: 7, groups: 2),
        ]

        /// Runs all units, the last first, at the level that `conv` was prepared for, whatever the level is now.
        static func run(
            _ conv: ck_packed_conv, _ operands: ck_operands, scale: Floats? = nil, padding: Floats? = nil
        ) {
            var (conv, operands, extras) = (conv, operands, ck_packed_extras())
            extras.scale = scale.map { UnsafePointer($0.pointer) }
            extras.padding = padding.map { UnsafePointer($0.pointer) }
            let count = Int(conv.scratch)
            let memory = UnsafeMutableRawPointer.allocate(byteCount: count * 4, alignment: 64)
            defer { memory.deallocate() }
            // NaNs, so that what is read before it is written shows.
            let scratch = memory.initializeMemory(as: Float.self, repeating: .nan, count: count)
            let now = ck_level_current()
            defer { ck_level_set(now) }
            ck_level_set(CK_LEVEL_PORTABLE)
            var kept = ck_packed_kept()
            withUnsafeMutablePointer(to: &kept) {
                if conv.units % 2 == 0 { extras.kept = $0 }
                for unit in (0..<conv.units).reversed() {
                    ck_packed_conv_run(&conv, &operands, &extras, unit, unit + 1, scratch)
                }
            }
        }

        @Test(arguments: cases.indices) func largeSumsAgreeWithTheReference(_ index: Int) {
            let problem = Self.cases[index], shape = problem.conv.shape, strides = problem.conv.strides
            let (rows, c, o) = (Int(problem.rows), Int(problem.c), Int(problem.o))
            var random = Random(index + 1)
            let x = random.floats((rows - 1) * Int(strides.x) + c), weight = random.floats(problem.weights)
            let bias = random.floats(o), residual = random.floats(rows * o)
            let dense = Floats(rows * c), sums = Floats(rows * o), guardValue: Float = 12345
            for i in 0..<rows * c { dense.pointer[i] = x.pointer[i / c * Int(strides.x) + i % c] }
            ck_conv2d_forward_f32_ref([shape], dense.pointer, weight.pointer, bias.pointer, sums.pointer)
            let expected = Floats((rows - 1) * Int(strides.y) + o, filledWith: guardValue)
            for i in 0..<rows * o {
                expected.pointer[i / o * Int(strides.y) + i % o] = max(0, sums.pointer[i] + residual.pointer[i])
            }
            let cores = problem.mixesRows ? CK_CORES_ZEN5 : ck_cores_current()
            Self.eachLayout(choosingFor: cores, groups: problem.groups) { level, layout in
                var first: [Float]?
                for threads: Int64 in 1...3 {
                    var conv = problem.conv
                    conv.weight_layout = layout
                    ck_packed_conv_prepare(&conv, threads)
                    #expect(conv.amx == (layout == CK_WEIGHTS_AMX) && conv.paired == (layout == CK_WEIGHTS_PAIRED))
                    let packed = Floats(Int(ck_packed_conv_weights(&conv)), filledWith: .nan)
                    // In as many parts as panels for three threads, in the order that threads may finish in.
                    let parts = threads == 3 ? conv.panels : threads
                    for part in (0..<parts).reversed() {
                        let (begin, end) = (conv.panels * part / parts, conv.panels * (part + 1) / parts)
                        ck_packed_conv_pack_panels(&conv, weight.pointer, packed.pointer, begin, end)
                    }
                    let y = Floats(expected.count, filledWith: guardValue)
                    Self.run(
                        conv,
                        ck_operands(
                            x: x.pointer, weight: packed.pointer, bias: bias.pointer, residual: residual.pointer,
                            y: y.pointer))
                    let label = "\(problem), \(level), \(layout), \(threads) threads"
                    expectClose(y, expected, tolerance: 3e-5, label)
                    for row in 0..<rows - 1 {
                        for k in o..<Int(strides.y) where y.pointer[row * Int(strides.y) + k] != guardValue {
                            Issue.record("\(label): wrote beyond the channels of row \(row)")
                        }
                    }
                    // Which rows Strassen's sums combine depends on the threads.
                    if conv.strassen { continue }
                    if let first, first != y.values { Issue.record("\(label): depends on how the work is divided") }
                    first = first ?? y.values
                }
            }
        }

        /// An image's scales go into the weights where there are many more rows than outputs, and into the rows elsewhere.
        @Test(arguments: [(700, 37, 40, true), (700, 64, 9, true), (100, 37, 40, false)])
        func imageScalesMultiplyRowsOrWeights(_ rows: Int, _ c: Int, _ o: Int, _ scalesWeights: Bool) {
            var random = Random(rows + c)
            let x = random.floats(rows * (c + 3)), weight = random.floats(o * c), residual = random.floats(rows * o)
            let bias = random.floats(o), scale = random.floats(c), guardValue: Float = 12345
            let expected = Floats((rows - 1) * (o + 5) + o, filledWith: guardValue)
            for row in 0..<rows {
                for k in 0..<o {
                    let products = (0..<c).map {
                        x.pointer[row * (c + 3) + $0] * scale.pointer[$0] * weight.pointer[k * c + $0]
                    }
                    let sum = products.reduce(bias.pointer[k] + residual.pointer[row * o + k], +)
                    expected.pointer[row * (o + 5) + k] = max(0, sum)
                }
            }
            atEveryLevel { level in
                for threads: Int64 in 1...2 {
                    var conv = Case(rows: Int64(rows), c: Int64(c), o: Int64(o)).conv
                    conv.prologue = CK_PROLOGUE_IMAGE_SCALE
                    ck_packed_conv_prepare(&conv, threads)
                    let label = "\(rows) x \(c) to \(o), \(level), \(threads) threads"
                    #expect(conv.scales_weights == scalesWeights, "\(label)")
                    let packed = Floats(Int(ck_packed_conv_weights(&conv)))
                    ck_packed_conv_pack(&conv, weight.pointer, packed.pointer)
                    let y = Floats(expected.count, filledWith: guardValue)
                    Self.run(
                        conv,
                        ck_operands(
                            x: x.pointer, weight: packed.pointer, bias: bias.pointer, residual: residual.pointer,
                            y: y.pointer), scale: scale)
                    expectClose(y, expected, tolerance: 3e-5, label)
                }
            }
        }

        /// Where seven products of sums are slower than eight, or impossible, the eight are computed.
        @Test func strassenSuitsWhatItComputesFaster() {
            func isStrassen(
                rows: Int64 = 196, c: Int64 = 768, o: Int64 = 512, kernel: Int64 = 1, groups: Int64 = 1,
                mixesRows: Bool = true, images: Int64 = 1
            ) -> Bool {
                let problem = Case(
                    rows: rows, c: c, o: o, kernel: kernel, width: 14, groups: groups, mixesRows: mixesRows,
                    images: images)
                var conv = problem.conv
                conv.weight_layout = CK_WEIGHTS_VECTORS
                ck_packed_conv_prepare(&conv, 2)
                return conv.strassen
            }
            atEveryLevel(choosingFor: CK_CORES_ZEN5) { level in
                let isFaster = level == "avx512"
                #expect(isStrassen() == isFaster && isStrassen(rows: 3136, c: 256) == isFaster, "\(level)")
                #expect(isStrassen(rows: 392, images: 8) == isFaster && !isStrassen(rows: 360, images: 24), "\(level)")
                #expect(!isStrassen(c: 769) && !isStrassen(c: 512) && !isStrassen(rows: 3136, c: 128), "\(level)")
                #expect(!isStrassen(rows: 49, c: 960) && !isStrassen(o: 384), "\(level)")
                #expect(!isStrassen(kernel: 3) && !isStrassen(groups: 2) && !isStrassen(mixesRows: false), "\(level)")
            }
            for cores in [CK_CORES_ZEN4, CK_CORES_INTEL] {
                atEveryLevel(choosingFor: cores) { #expect(!isStrassen(rows: 3136), "\(cores), \($0)") }
            }
        }

        /// On Intel's cores each thread has rows where there is a tile of them for it, elsewhere whichever is faster.
        @Test func threadsHaveRowsWhereOtherCoresWritesAreFar() {
            func rowParts(rows: Int64, c: Int64, o: Int64, threads: Int64) -> Int64 {
                var conv = Case(rows: rows, c: c, o: o).conv
                conv.weight_layout = CK_WEIGHTS_VECTORS
                ck_packed_conv_prepare(&conv, threads)
                #expect(conv.row_parts * conv.panel_parts == threads)
                return conv.row_parts
            }
            atEveryLevel(choosingFor: CK_CORES_INTEL) { level in
                #expect(rowParts(rows: 49, c: 400, o: 400, threads: 2) == 2, "\(level)")
                #expect(rowParts(rows: 196, c: 1024, o: 256, threads: 3) == 3, "\(level)")
                #expect(rowParts(rows: 3, c: 512, o: 512, threads: 2) == 1, "\(level)")
            }
            atEveryLevel(choosingFor: CK_CORES_ZEN4) { level in
                #expect(rowParts(rows: 49, c: 400, o: 400, threads: 2) == 1, "\(level)")
            }
        }

        /// Channels, kernel, stride, padding and dilation: rows of the kernel at once, tap by tap, and pixels of three channels.
        @Test(arguments: [
            (3, 7, 2, 3, 1), (3, 3, 1, 1, 1), (3, 4, 4, 0, 1), (3, 11, 4, 2, 1), (3, 2, 3, 1, 1), (20, 3, 1, 1, 1),
            (3, 3, 1, 2, 2), (5, 3, 2, 2, 2), (4, 1, 1, 1, 1),
        ])
        func tapsBeyondTheImageReadThePadding(_ c: Int, _ k: Int, _ stride: Int, _ pad: Int, _ dilation: Int) {
            let (n, h, w, o) = (2, 15, 53, 37)
            let (oh, ow) = (
                (h + 2 * pad - dilation * (k - 1) - 1) / stride + 1, (w + 2 * pad - dilation * (k - 1) - 1) / stride + 1
            )
            var random = Random(c * 100 + k)
            let dense = random.floats(n * h * w * c), weight = random.floats(o * k * k * c), padding = random.floats(c)
            var conv = ck_packed_conv()
            (conv.shape.n, conv.shape.h, conv.shape.w, conv.shape.c) = (n.int64, h.int64, w.int64, c.int64)
            (conv.shape.oh, conv.shape.ow, conv.shape.o) = (oh.int64, ow.int64, o.int64)
            (conv.shape.kh, conv.shape.kw, conv.shape.groups) = (k.int64, k.int64, 1)
            (conv.shape.stride_h, conv.shape.stride_w) = (stride.int64, stride.int64)
            (conv.shape.dilation_h, conv.shape.dilation_w) = (dilation.int64, dilation.int64)
            // The reference on an image with the padding around it.
            let (ph, pw) = (h + 2 * pad, w + 2 * pad)
            var padded = conv.shape
            (padded.h, padded.w) = (ph.int64, pw.int64)
            let wide = Floats(n * ph * pw * c), expected = Floats(n * oh * ow * o)
            for i in 0..<wide.count {
                let (row, column) = (i / c / pw % ph - pad, i / c % pw - pad)
                let inside = row >= 0 && row < h && column >= 0 && column < w
                let pixel = (i / c / pw / ph * h + row) * w + column
                wide.pointer[i] = inside ? dense.pointer[pixel * c + i % c] : padding.pointer[i % c]
            }
            ck_conv2d_forward_f32_ref([padded], wide.pointer, weight.pointer, nil, expected.pointer)
            (conv.shape.pad_top, conv.shape.pad_left) = (pad.int64, pad.int64)
            conv.epilogue = ck_epilogue(activation: CK_IDENTITY, combine: CK_COMBINE_NONE)
            conv.mixes_rows = true
            for xStride in [c, c + 2] {
                let x = Floats(n * h * w * xStride)
                for i in 0..<dense.count { x.pointer[i / c * xStride + i % c] = dense.pointer[i] }
                conv.strides = ck_strides(x: xStride.int64, y: o.int64, residual: 0)
                Self.eachLayout { level, layout in
                    conv.weight_layout = layout
                    for threads: Int64 in 1...3 {
                        ck_packed_conv_prepare(&conv, threads)
                        let hasPixels = layout == CK_WEIGHTS_PAIRED && c == 3 && dilation == 1
                        #expect(conv.paired_pixels == hasPixels)
                        let packed = Floats(Int(ck_packed_conv_weights(&conv)))
                        ck_packed_conv_pack(&conv, weight.pointer, packed.pointer)
                        let y = Floats(expected.count, filledWith: .nan)
                        Self.run(
                            conv,
                            ck_operands(
                                x: x.pointer, weight: packed.pointer, bias: nil, residual: nil, y: y.pointer),
                            padding: padding)
                        expectClose(y, expected, tolerance: 1e-5, "\(level), \(layout), \(threads) threads")
                    }
                }
            }
        }

        /// Not a number in gives that out, also where its bits are such that an addition carries them over to 0.
        @Test(arguments: [0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff, 0x7f80_0001] as [UInt32])
        func notANumberStaysOne(_ bits: UInt32) {
            let (rows, c, o) = (64, 100, 96)
            let nan = Float(bitPattern: bits)
            var random = Random(78)
            let x = random.floats(rows * c), weight = random.floats(o * c)
            x.pointer[17 * c + 30] = nan
            weight.pointer[40 * c + 99] = nan
            Self.eachLayout { level, layout in
                let y = Self.product(x, weight, rows: rows, c: c, o: o, layout: layout)
                for index in 0..<rows * o {
                    let expected = index / o == 17 || index % o == 40
                    #expect(y.pointer[index].isNaN == expected, "\(index / o), \(index % o), \(level), \(layout)")
                }
            }
        }

        /// Calls the body with the arithmetic of the pool's loops.
        private static func inLoop(_ body: () -> Void) {
            withoutActuallyEscaping(body) { body in
                var body = body
                ck_pool_run(
                    1, 1, { body, _, _, _ in body!.assumingMemoryBound(to: (() -> Void).self).pointee() }, &body)
            }
        }

        /// At every level, each layout of weights that it has.
        static func eachLayout(
            choosingFor cores: ck_cores = ck_cores_current(), groups: Int64 = 1,
            _ body: (_ level: String, ck_weight_layout) -> Void
        ) {
            atEveryLevel(choosingFor: cores) { level in
                body(level, CK_WEIGHTS_VECTORS)
                if level == "amx", groups == 1 { body(level, CK_WEIGHTS_AMX) }
                if level == "avx512", groups == 1 { body(level, CK_WEIGHTS_PAIRED) }
            }
        }

        /// `x`, [rows, c], times `weight`, [o, c], plus `bias`.
        static func product(
            _ x: Floats, _ weight: Floats, _ bias: Floats? = nil, rows: Int, c: Int, o: Int, layout: ck_weight_layout
        ) -> Floats {
            var conv = Case(rows: Int64(rows), c: Int64(c), o: Int64(o)).conv
            conv.strides = ck_strides(x: Int64(c), y: Int64(o), residual: 0)
            conv.epilogue = ck_epilogue(activation: CK_IDENTITY, combine: CK_COMBINE_NONE)
            conv.weight_layout = layout
            ck_packed_conv_prepare(&conv, 1)
            #expect(conv.amx == (layout == CK_WEIGHTS_AMX) && conv.paired == (layout == CK_WEIGHTS_PAIRED))
            let packed = Floats(Int(ck_packed_conv_weights(&conv))), y = Floats(rows * o)
            ck_packed_conv_pack(&conv, weight.pointer, packed.pointer)
            run(
                conv,
                ck_operands(x: x.pointer, weight: packed.pointer, bias: bias?.pointer, residual: nil, y: y.pointer))
            return y
        }

        /// A row of zeros, and one as small as numbers are or as large, among others.
        @Test func rowsOfZerosGiveTheBias() {
            let (rows, c, o) = (50, 130, 70)
            var random = Random(81)
            let x = random.floats(rows * c), weight = random.floats(o * c), bias = random.floats(o)
            for i in 0..<c {
                (x.pointer[3 * c + i], x.pointer[49 * c + i]) = (0, -0.0)
                (x.pointer[20 * c + i], x.pointer[21 * c + i]) = (1e-40, 1e37)
            }
            Self.eachLayout { level, layout in
                let y = Self.product(x, weight, bias, rows: rows, c: c, o: o, layout: layout)
                for k in 0..<o {
                    let sum = (0..<c).reduce(0) { $0 + Double(weight.pointer[k * c + $1]) }
                    for row in [3, 49] { #expect(y.pointer[row * o + k] == bias.pointer[k], "\(level), \(layout)") }
                    #expect(abs(y.pointer[20 * o + k] - bias.pointer[k]) < 1e-6, "\(level), \(layout)")
                    #expect(abs(Double(y.pointer[21 * o + k]) / 1e37 - sum) < 1e-5 * Double(c), "\(level), \(layout)")
                }
            }
        }

        @Test(arguments: cases.indices) func unpackingGivesTheWeights(_ index: Int) {
            let problem = Self.cases[index]
            var random = Random(index + 200)
            let weight = random.floats(problem.weights)
            // Of all magnitudes, down to what has fewer bits.
            for k in 0..<weight.count / 3 {
                weight.pointer[k * 3] *= Float(sign: .plus, exponent: k % 200 - 140, significand: 1)
            }
            Self.eachLayout(groups: problem.groups) { level, layout in
                var conv = problem.conv
                conv.weight_layout = layout
                ck_packed_conv_prepare(&conv, 2)
                let packed = Floats(Int(ck_packed_conv_weights(&conv)))
                // As plans pack, with subnormal numbers taken for 0.
                Self.inLoop { ck_packed_conv_pack(&conv, weight.pointer, packed.pointer) }
                let unpacked = Floats(weight.count, filledWith: .nan)
                for part: Int64 in [1, 0] {
                    let (begin, end) = (conv.panels * part / 2, conv.panels * (part + 1) / 2)
                    ck_packed_conv_unpack_panels(&conv, packed.pointer, unpacked.pointer, begin, end)
                }
                // What is nearly 0 is left out by AMX's parts.
                if layout == CK_WEIGHTS_AMX { return expectClose(unpacked, weight, tolerance: 1e-7, "\(problem)") }
                #expect(unpacked.values == weight.values, "\(problem), \(level), \(layout)")
            }
        }

        /// Plans share packed weights whatever their threads and image sizes, also where those change the blocks. For many
        /// more rows AMX may be chosen; where weights are packed already, they decide.
        @Test(arguments: cases.indices) func layoutDependsOnTheWeightsAlone(_ index: Int) {
            let problem = Self.cases[index]
            var random = Random(index + 100)
            let weight = random.floats(problem.weights)
            atEveryLevel { level in
                var (first, layout): ([Float]?, ck_weight_layout) = (nil, CK_WEIGHTS_ANY)
                for (threads, scale): (Int64, Int64) in [(1, 1), (2, 1), (3, 5), (8, 40)] {
                    var conv = problem.conv
                    conv.shape.n = threads
                    (conv.shape.h, conv.shape.oh) = (conv.shape.h * scale, conv.shape.oh * scale)
                    conv.strides = ck_strides(x: problem.c, y: problem.o * scale, residual: problem.o)
                    conv.weight_layout = layout
                    ck_packed_conv_prepare(&conv, threads)
                    layout = conv.amx ? CK_WEIGHTS_AMX : conv.paired ? CK_WEIGHTS_PAIRED : CK_WEIGHTS_VECTORS
                    let packed = Floats(Int(ck_packed_conv_weights(&conv)))
                    ck_packed_conv_pack(&conv, weight.pointer, packed.pointer)
                    if let first, first != packed.values { Issue.record("\(problem), \(level), \(threads) threads") }
                    first = first ?? packed.values
                }
            }
        }
    }
}
