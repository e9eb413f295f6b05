import CKernels
import Testing

/// How inference plans' convolutions lie in memory, and which of them is chosen for what.
extension KernelTests {
    @Suite struct InferenceConvolutionChoices {
        typealias Kernel = InferenceConvolution.Kernel
        typealias Problem = InferenceConvolution.Problem

        /// Plans of different image sizes and numbers of threads share packed weights, and threads share the packing.
        @Test func packedLayoutDependsOnTheWeightsAlone() {
            for seed in 0..<40 {
                var random = Random(seed + 3000)
                let kernel = Kernel.allCases[seed % Kernel.allCases.count]
                guard let problem = Problem(kernel, &random) else { continue }
                let s = problem.shape
                let weight = random.floats(Int(s.o * s.kh * s.kw * (s.c / s.groups)))
                atEveryLevel { level in
                    if kernel == .grouped, !ck_grouped_computes([s]) { return }
                    var layouts: Set<[Float]> = []
                    for (threads, size) in [(1, 20), (2, 20), (2, 7), (3, 57), (8, 224)] {
                        let (whole, inParts) = packings(
                            kernel, problem, weight, threads: threads.int64, size: size.int64)
                        layouts.formUnion([whole.values, inParts.values])
                    }
                    #expect(layouts.count == 1, "\(kernel), seed \(seed), \(level): \(problem)")
                }
            }
        }

        /// The weights for square images of a size, packed at once and, where the kernel offers that, in ranges of panels.
        private func packings(
            _ kernel: Kernel, _ problem: Problem, _ weight: Floats, threads: Int64, size: Int64
        ) -> (whole: Floats, inParts: Floats) {
            var shape = problem.shape
            (shape.h, shape.w, shape.oh, shape.ow) = (size, size, size, size)
            func pack(_ count: Int64, _ ranges: [Range<Int64>], _ body: (Range<Int64>, Floats) -> Void) -> Floats {
                let packed = Floats(Int(count), filledWith: 12345)
                for range in ranges { body(range, packed) }
                return packed
            }
            func packTwice(_ count: Int64, panels: Int64, _ body: (Range<Int64>, Floats) -> Void) -> (Floats, Floats) {
                let third = panels / 3
                let (low, middle, high) = (0..<third, third..<max(third, panels - 1), max(third, panels - 1)..<panels)
                return (pack(count, [0..<panels], body), pack(count, [high, low, middle], body))
            }
            switch kernel {
            case .packed, .strassen, .amx, .paired:
                var conv = ck_packed_conv()
                (conv.shape, conv.strides, conv.prologue) = (shape, problem.strides, problem.prologue)
                conv.weight_layout = kernel.weightLayout
                ck_packed_conv_prepare(&conv, threads)
                return packTwice(ck_packed_conv_weights(&conv), panels: conv.panels) { range, packed in
                    range.count == Int(conv.panels)
                        ? ck_packed_conv_pack(&conv, weight.pointer, packed.pointer)
                        : ck_packed_conv_pack_panels(
                            &conv, weight.pointer, packed.pointer, range.lowerBound, range.upperBound)
                }
            case .winograd:
                var conv = ck_winograd_conv()
                // What the layout depends on beside the weights; plans that share weights set it.
                (conv.shape, conv.strides, conv.m) = (shape, problem.strides, 4)
                ck_winograd_prepare(&conv, threads)
                return packTwice(ck_winograd_weights(&conv), panels: conv.panels) { range, packed in
                    ck_winograd_pack(&conv, weight.pointer, range.lowerBound, range.upperBound, packed.pointer)
                }
            case .depthwise:
                var conv = ck_depthwise_conv()
                (conv.shape, conv.strides) = (shape, problem.strides)
                ck_depthwise_prepare(&conv, threads)
                let packed = pack(ck_depthwise_weights(&conv), [0..<1]) { _, packed in
                    ck_depthwise_pack(&conv, weight.pointer, packed.pointer)
                }
                return (packed, packed)
            case .grouped:
                var conv = ck_grouped_conv()
                (conv.shape, conv.strides) = (shape, problem.strides)
                ck_grouped_prepare(&conv, threads)
                let packed = pack(ck_grouped_weights(&conv), [0..<1]) { _, packed in
                    ck_grouped_pack(&conv, weight.pointer, packed.pointer)
                }
                return (packed, packed)
            }
        }

        /// The same of Winograd, for each size of tiles.
        @Test(arguments: [2, 3, 4]) func packedWinogradLayoutDependsOnTheTilesAlone(m: Int64) {
            var random = Random(6)
            let (c, o) = (30, 70)
            let weight = random.floats(o * 9 * c)
            atEveryLevel { level in
                var layouts: Set<[Float]> = []
                for (threads, images, size) in [(1, 1, 7), (2, 1, 7), (3, 4, 30), (8, 1, 112)] {
                    var conv = ck_winograd_conv()
                    conv.shape = squareConvolution(c: c, o: o, images: images, size: size)
                    (conv.strides, conv.m) = (ck_strides(x: c.int64, y: o.int64, residual: 0), m)
                    ck_winograd_prepare(&conv, threads.int64)
                    #expect(conv.m == m)
                    let packed = Floats(Int(ck_winograd_weights(&conv)), filledWith: .nan)
                    // In two parts, as threads that share the packing do.
                    let half = conv.panels / 2
                    ck_winograd_pack(&conv, weight.pointer, half, conv.panels, packed.pointer)
                    ck_winograd_pack(&conv, weight.pointer, 0, half, packed.pointer)
                    layouts.insert(packed.values)
                }
                #expect(layouts.count == 1, "\(level)")
                #expect(layouts.allSatisfy { $0.allSatisfy(\.isFinite) }, "\(level)")
            }
        }

        /// What Winograd cannot compute, or not faster, is left to the direct product.
        @Test func winogradSuitsWhatItComputesFaster() {
            let shape = squareConvolution(c: 64, o: 64, images: 1, size: 14)
            #expect(ck_winograd_suits([shape]))
            let changes: [(inout ck_conv2d_shape) -> Void] = [
                { $0.kh = 5 }, { $0.kw = 1 }, { $0.stride_h = 2 }, { $0.stride_w = 2 }, { $0.dilation_h = 2 },
                { $0.dilation_w = 2 }, { $0.groups = 16 }, { $0.pad_top = 3 }, { $0.pad_left = 3 }, { $0.c = 15 },
                { $0.o = 15 },
            ]
            for (index, change) in changes.enumerated() {
                var other = shape
                change(&other)
                #expect(!ck_winograd_suits([other]), "change \(index)")
            }
            #expect(!ck_winograd_suits([squareConvolution(c: 512, o: 512, images: 1, size: 4)]))
            for (kh, kw) in [(1, 7), (7, 1)] as [(Int64, Int64)] {
                func line(_ size: Int) -> ck_conv2d_shape {
                    var line = squareConvolution(c: 160, o: 192, images: 1, size: size)
                    (line.kh, line.kw, line.pad_top, line.pad_left) = (kh, kw, kh / 2, kw / 2)
                    return line
                }
                #expect(ck_winograd_suits([line(17)]) && !ck_winograd_suits([line(11)]))
                let changes: [(inout ck_conv2d_shape) -> Void] = [
                    { ($0.kh, $0.kw) = (7, 7) }, { ($0.kh, $0.kw) = (1, 1) }, { $0.stride_w = 2 },
                    { $0.dilation_h = 2 },
                    { $0.groups = 2 }, { $0.pad_top = kh }, { $0.pad_left = kw }, { $0.c = 15 }, { $0.o = 15 },
                    { ($0.oh, $0.ow) = kh == 1 ? (200, 2) : (2, 200) },
                ]
                for (index, change) in changes.enumerated() {
                    var other = line(17)
                    change(&other)
                    #expect(!ck_winograd_suits([other]), "\(kh) x \(kw), change \(index)")
                }
            }
            for (groups, size, suits) in [(8, 14, true), (2, 7, true), (4, 7, false)] {
                var grouped = squareConvolution(c: 64, o: 64, images: 1, size: size)
                grouped.groups = groups.int64
                #expect(ck_winograd_suits([grouped]) == suits, "\(groups) groups, \(size) x \(size)")
            }
            for (c, o, images, size, m) in [
                (512, 512, 1, 7, 2), (160, 320, 1, 7, 3), (128, 256, 1, 6, 2), (64, 64, 1, 7, 4), (160, 320, 8, 7, 4),
                (512, 512, 1, 14, 4),
            ] {
                var conv = ck_winograd_conv()
                conv.shape = squareConvolution(c: c, o: o, images: images, size: size)
                ck_winograd_prepare(&conv, 2)
                #expect(ck_winograd_suits(&conv.shape) && conv.m == m, "\(c) to \(o), \(images) of \(size)")
            }
        }

        /// Groups of 4 and 8 channels, and where Winograd is no faster of 16: 3 x 3, stride 1 or 2, on vectors of 8 and more.
        @Test func groupedSuitsWhatItComputesFastest() {
            func suits(
                _ group: Int, size: Int = 7, stride: Int64 = 1, _ change: (inout ck_conv2d_shape) -> Void = { _ in }
            ) -> Bool {
                var shape = squareConvolution(c: 6 * group, o: 6 * group, images: 1, size: size)
                (shape.groups, shape.stride_h, shape.stride_w) = (6, stride, stride)
                change(&shape)
                return ck_grouped_suits([shape])
            }
            for cores in [CK_CORES_ZEN4, CK_CORES_ZEN5, CK_CORES_INTEL] {
                atEveryLevel(choosingFor: cores) { level in
                    let (isVector, isWide) = (level != "portable", level == "avx512" || level == "amx")
                    #expect(suits(4) == isVector && suits(4, size: 56) == isVector, "\(level)")
                    #expect(suits(8, size: 14) == isVector && suits(8, size: 28, stride: 2) == isVector, "\(level)")
                    // However many images: their tiles are cut at the same edges.
                    #expect(suits(8, size: 14) { $0.n = 8 } == isVector, "\(level)")
                    let isFast = isWide && cores == CK_CORES_ZEN5
                    #expect(suits(8, size: 28) == isFast && suits(32) == isFast, "\(level)")
                    #expect(suits(16) == isWide && suits(16, size: 28, stride: 2) == isWide, "\(level)")
                    #expect(!suits(16, size: 14) && !suits(32, stride: 2) && !suits(2) && !suits(12), "\(level)")
                    for change: (inout ck_conv2d_shape) -> Void in [
                        { $0.kh = 1 }, { $0.kw = 5 }, { $0.stride_h = 2 }, { $0.dilation_w = 2 }, { $0.o *= 2 },
                        { $0.groups = 1 }, { ($0.stride_h, $0.stride_w) = (3, 3) }, { $0.pad_top = -1 },
                    ] { #expect(!suits(8, size: 7, stride: 1, change), "\(level)") }
                }
            }
        }

        /// Where cores add beside their multiplications, whole vectors of channels are paired if there are enough of them.
        @Test func winogradPairsChannelsForZen4() {
            func isPaired(c: Int, o: Int, groups: Int = 1) -> Bool {
                var conv = ck_winograd_conv()
                conv.shape = squareConvolution(c: c, o: o, images: 1, size: 28)
                conv.shape.groups = groups.int64
                ck_winograd_prepare(&conv, 2)
                return conv.paired
            }
            atEveryLevel(choosingFor: CK_CORES_ZEN4) { level in
                #expect((isPaired(c: 64, o: 64) && isPaired(c: 48, o: 100)) == (level == "avx512"), "\(level)")
                #expect(!isPaired(c: 72, o: 64) && !isPaired(c: 48, o: 64) && !isPaired(c: 128, o: 32), "\(level)")
                #expect(!isPaired(c: 32, o: 256) && !isPaired(c: 128, o: 128, groups: 2), "\(level)")
            }
            atEveryLevel(choosingFor: CK_CORES_ZEN5) { #expect(!isPaired(c: 64, o: 64), "\($0)") }
        }

        /// Rows of 1 x 1 layers, inputs and outputs, on two threads: those of Intel share rows, but not where few meet weights
        /// that no cache holds, nor where there are few for a tile.
        @Test func threadsOfIntelShareRowsOrPanels() {
            atEveryLevel(choosingFor: CK_CORES_INTEL) { level in
                for (rows, c, o, sharesRows) in [
                    (196, 1024, 256, true), (49, 400, 400, true), (196, 768, 3072, true), (49, 2048, 512, false),
                    (81, 512, 2048, false), (100, 2048, 512, true), (6, 512, 512, false),
                ] {
                    var conv = ck_packed_conv()
                    conv.shape = squareConvolution(c: c, o: o, images: 1, size: rows)
                    (conv.shape.h, conv.shape.oh, conv.shape.kh, conv.shape.kw) = (1, 1, 1, 1)
                    (conv.shape.pad_top, conv.shape.pad_left) = (0, 0)
                    conv.strides = ck_strides(x: c.int64, y: o.int64, residual: 0)
                    conv.weight_layout = CK_WEIGHTS_VECTORS
                    ck_packed_conv_prepare(&conv, 2)
                    let parts: (Int64, Int64) = sharesRows ? (2, 1) : (1, 2)
                    #expect((conv.row_parts, conv.panel_parts) == parts, "\(rows) x \(c) x \(o), \(level)")
                }
            }
        }
    }
}
