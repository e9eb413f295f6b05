import CKernels
import Testing

/// The convolutions of inference plans against the reference loop with the prologue and epilogue as their formulas read.
extension KernelTests {
    @Suite struct InferenceConvolution {
        /// Problems for each kernel; fewer where the kernels are not optimized.
        #if DEBUG && !SANITIZE
            static let seeds = 16
        #else
            static let seeds = 160
        #endif

        @Test(arguments: Kernel.allCases) func agreesWithTheReference(_ kernel: Kernel) {
            let guardValue: Float = 12345
            // Strassen's problems are some hundred times larger.
            for seed in 0..<(kernel == .strassen ? Self.seeds / 8 : Self.seeds) {
                var random = Random(seed * 7919 + 13)
                guard let problem = Problem(kernel, &random) else { continue }
                let operands = Operands(problem, &random)
                let expected = operands.expected(guardValue)
                // Strassen's products are for some cores only, and pairs of Winograd's channels for others.
                let isForZen5 = kernel == .strassen || seed % 2 == 0
                atEveryLevel(choosingFor: isForZen5 ? CK_CORES_ZEN5 : CK_CORES_ZEN4) { level in
                    if kernel == .grouped, !ck_grouped_computes([problem.shape]) { return }
                    if kernel == .amx, level != "amx" { return }
                    if kernel == .paired, level != "avx512" { return }
                    var first: Floats?
                    for threads: Int64 in 1...4 {
                        let y = result(kernel, operands, threads: threads, guardValue: guardValue)
                        let label = "\(kernel), seed \(seed), \(level), \(threads) threads: \(problem)"
                        let cancels = kernel == .winograd || kernel == .strassen
                        expectClose(y, expected, tolerance: cancels ? 1e-4 : 3e-5, label)
                        // Everything between the rows' channels is as it was.
                        for (index, (a, b)) in zip(y.values, expected.values).enumerated() where b == guardValue {
                            if a != b { Issue.record("\(label): wrote between rows, at \(index)") }
                        }
                        // Which rows Strassen's sums combine depends on the threads.
                        if kernel != .strassen, let first, first.values != y.values {
                            Issue.record("\(label): the result depends on how the work is divided")
                        }
                        first = first ?? y
                    }
                }
            }
        }

        private func result(_ kernel: Kernel, _ o: Operands, threads: Int64, guardValue: Float) -> Floats {
            let problem = o.problem, parts = threads == 1 ? 1 : threads + 1
            switch kernel {
            case .packed, .strassen, .amx, .paired:
                var conv = ck_packed_conv()
                (conv.shape, conv.strides, conv.epilogue) = (problem.shape, problem.strides, problem.epilogue)
                (conv.prologue, conv.eps, conv.mixes_rows) = (problem.prologue, o.eps, kernel == .strassen)
                conv.weight_layout = kernel.weightLayout
                ck_packed_conv_prepare(&conv, threads)
                let packed = Floats(Int(ck_packed_conv_weights(&conv)))
                ck_packed_conv_pack(&conv, o.weight.pointer, packed.pointer)
                return o.run(packed, units: conv.units, scratch: conv.scratch, parts: parts, guardValue: guardValue) {
                    ck_packed_conv_run(&conv, $0, $1, $2, $3, $4)
                }
            case .winograd:
                var conv = ck_winograd_conv()
                (conv.shape, conv.strides, conv.epilogue) = (problem.shape, problem.strides, problem.epilogue)
                ck_winograd_prepare(&conv, threads)
                let packed = Floats(Int(ck_winograd_weights(&conv)))
                ck_winograd_pack(&conv, o.weight.pointer, 0, conv.panels, packed.pointer)
                return o.run(packed, units: conv.units, scratch: conv.scratch, parts: parts, guardValue: guardValue) {
                    operands, _, begin, end, scratch in
                    ck_winograd_run(&conv, operands, begin, end, scratch)
                }
            case .depthwise:
                var conv = ck_depthwise_conv()
                (conv.shape, conv.strides, conv.epilogue) = (problem.shape, problem.strides, problem.epilogue)
                ck_depthwise_prepare(&conv, threads)
                let packed = Floats(Int(ck_depthwise_weights(&conv)))
                ck_depthwise_pack(&conv, o.weight.pointer, packed.pointer)
                return o.run(packed, units: conv.units, scratch: conv.scratch, parts: parts, guardValue: guardValue) {
                    operands, _, begin, end, scratch in
                    ck_depthwise_run(&conv, operands, nil, begin, end, scratch)
                }
            case .grouped:
                var conv = ck_grouped_conv()
                (conv.shape, conv.strides, conv.epilogue) = (problem.shape, problem.strides, problem.epilogue)
                ck_grouped_prepare(&conv, threads)
                let packed = Floats(Int(ck_grouped_weights(&conv)))
                ck_grouped_pack(&conv, o.weight.pointer, packed.pointer)
                return o.run(packed, units: conv.units, scratch: conv.scratch, parts: parts, guardValue: guardValue) {
                    operands, _, begin, end, scratch in
                    ck_grouped_run(&conv, operands, begin, end, scratch)
                }
            }
        }

        /// Smaller tiles, for weights that are packed for few pixels.
        @Test(arguments: [2, 3, 4]) func winogradTilesOfEachSizeAgree(m: Int64) {
            for seed in 0..<60 {
                var random = Random(seed + 1000)
                guard var problem = Problem(.winograd, &random), problem.shape.kh == 3 else { continue }
                problem.epilogue.combine = CK_COMBINE_NONE
                let operands = Operands(problem, &random)
                let expected = operands.expected(0)
                atEveryLevel(choosingFor: seed % 2 == 0 ? CK_CORES_ZEN5 : CK_CORES_ZEN4) { level in
                    var conv = ck_winograd_conv()
                    (conv.shape, conv.strides, conv.epilogue) = (problem.shape, problem.strides, problem.epilogue)
                    conv.m = m
                    ck_winograd_prepare(&conv, 2)
                    let packed = Floats(Int(ck_winograd_weights(&conv)))
                    ck_winograd_pack(&conv, operands.weight.pointer, 0, conv.panels, packed.pointer)
                    let unpacked = Floats(operands.weight.count, filledWith: .nan)
                    for part: Int64 in [1, 0] {
                        let (begin, end) = (conv.panels * part / 2, conv.panels * (part + 1) / 2)
                        ck_winograd_unpack(&conv, packed.pointer, begin, end, unpacked.pointer)
                    }
                    expectClose(unpacked, operands.weight, tolerance: 2e-6, "\(problem), weights, \(level)")
                    let y = operands.run(packed, units: conv.units, scratch: conv.scratch, parts: 1, guardValue: 0) {
                        operands, _, begin, end, scratch in
                        ck_winograd_run(&conv, operands, begin, end, scratch)
                    }
                    expectClose(y, expected, tolerance: 5e-5, "m \(m), seed \(seed), \(level)")
                }
            }
        }

        /// Rows a multiple of 4096 bytes apart, which are copied before they are multiplied: with and without strides and
        /// padding, of 1024 channels and of fewer.
        @Test(arguments: [(30, 1, 0), (1024, 1, 0), (30, 2, 0), (30, 2, 1)] as [(Int64, Int64, Int64)])
        func rowsFarApartAreMultipliedAlike(channels: Int64, stride: Int64, pad: Int64) {
            var random = Random(3000)
            guard var problem = (0..<50).lazy.compactMap({ _ in Problem(.packed, &random) }).first else { return }
            problem.shape = squareConvolution(c: Int(channels), o: 80, images: 2, size: 9)
            (problem.shape.kh, problem.shape.kw) = (1, 1)
            (problem.shape.stride_h, problem.shape.stride_w) = (stride, stride)
            (problem.shape.pad_top, problem.shape.pad_left) = (pad, pad)
            let side = (9 + 2 * pad - 1) / stride + 1
            (problem.shape.oh, problem.shape.ow) = (side, side)
            problem.strides = ck_strides(x: 1024, y: 80, residual: 80)
            (problem.epilogue.combine, problem.prologue) = (CK_COMBINE_NONE, CK_PROLOGUE_NONE)
            (problem.gathers, problem.scatters, problem.isInPlace) = (false, false, false)
            let operands = Operands(problem, &random)
            let expected = operands.expected(0)
            atEveryLevel { level in
                for threads: Int64 in 1...2 {
                    let y = result(.packed, operands, threads: threads, guardValue: 0)
                    expectClose(y, expected, tolerance: 3e-5, "\(level), \(threads) threads")
                }
            }
        }

        @Test func depthwiseAddsUpItsOutputs() {
            for seed in 0..<40 {
                var random = Random(seed + 2000)
                guard var problem = Problem(.depthwise, &random) else { continue }
                problem.epilogue.combine = CK_COMBINE_NONE
                let operands = Operands(problem, &random)
                let (c, pixels) = (Int(problem.shape.c), Int(problem.shape.oh * problem.shape.ow))
                let y = operands.expected(0)
                let expected = (0..<Int(problem.shape.n) * c).map { index in
                    (0..<pixels).reduce(0.0) { sum, pixel in
                        sum + Double(y.pointer[(index / c * pixels + pixel) * Int(problem.strides.y) + index % c])
                    }
                }
                atEveryLevel { level in
                    var conv = ck_depthwise_conv()
                    (conv.shape, conv.strides, conv.epilogue) = (problem.shape, problem.strides, problem.epilogue)
                    ck_depthwise_prepare(&conv, 2)
                    let packed = Floats(Int(ck_depthwise_weights(&conv)))
                    ck_depthwise_pack(&conv, operands.weight.pointer, packed.pointer)
                    let sums = Floats(expected.count)
                    _ = operands.run(packed, units: conv.units, scratch: 0, parts: 3, guardValue: 0) {
                        operands, _, begin, end, scratch in
                        ck_depthwise_run(&conv, operands, sums.pointer, begin, end, scratch)
                    }
                    expectClose(
                        sums.values.map(Double.init), expected, tolerance: 1e-4, "seed \(seed), \(level): \(problem)")
                }
            }
        }
    }
}
