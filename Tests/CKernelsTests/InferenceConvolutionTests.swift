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

        /// `strassen`: products for `packed` that are large enough for seven multiplications instead of eight; `amx`: those
        /// of `packed` with AMX, at the level that has it.
        enum Kernel: CaseIterable {
            case packed, strassen, amx, winograd, depthwise, grouped

            var weightLayout: ck_weight_layout { self == .amx ? CK_WEIGHTS_AMX : CK_WEIGHTS_VECTORS }
        }

        static let activations = [
            CK_RELU, CK_RELU6, CK_HARDSWISH, CK_HARDSIGMOID, CK_SILU, CK_GELU, CK_SIGMOID, CK_TANH, CK_IDENTITY,
        ]

        /// One problem, drawn from a seed.
        struct Problem {
            var shape = ck_conv2d_shape()
            var strides = ck_strides()
            var epilogue = ck_epilogue()
            var prologue = CK_PROLOGUE_NONE
            var gathers = false
            var scatters = false
            var hasBias = false
            /// The prologue's layer norm has neither scale nor shift.
            var isPlainNorm = false
            /// The residual is what y holds before.
            var isInPlace = false

            var inputRows: Int { Int(shape.n * shape.h * shape.w) }
            var rows: Int { Int(shape.n * shape.oh * shape.ow) }
            var outputs: Int { Int(shape.o) * (epilogue.combine == CK_COMBINE_INTERLEAVE ? 2 : 1) }

            /// `nil` where the draw leaves no output.
            init?(_ kernel: Kernel, _ random: inout Random) {
                func pick<T>(_ values: T...) -> T { values[Int(random.next() % UInt64(values.count))] }
                var isRows = false
                (shape.n, shape.h, shape.w) = (pick(1, 2, 3), pick(1, 3, 6, 9, 14), pick(1, 4, 7, 15, 17))
                (shape.stride_h, shape.stride_w, shape.dilation_h, shape.dilation_w) = (1, 1, 1, 1)
                (shape.kh, shape.kw, shape.groups) = (1, 1, 1)
                var combines = [CK_COMBINE_NONE, CK_COMBINE_ADD_BEFORE, CK_COMBINE_ADD_AFTER, CK_COMBINE_INTERLEAVE]
                switch kernel {
                case .packed, .amx:
                    shape.groups = kernel == .amx ? 1 : pick(1, 1, 2, 5)
                    isRows = shape.groups == 1 && pick(true, false)
                    shape.c = shape.groups * pick(1, 3, 5, 16, 30, 64)
                    shape.o = shape.groups * pick(1, 7, 16, 24, 31, 33, 48, 80)
                    if !isRows {
                        (shape.kh, shape.kw) = (pick(1, 2, 3, 5), pick(1, 2, 3, 7))
                        (shape.stride_h, shape.stride_w) = (pick(1, 2, 4), pick(1, 2, 4))
                        (shape.pad_top, shape.pad_left) = (pick(0, 1, 3), pick(0, 2, 3))
                        (shape.dilation_h, shape.dilation_w) = (pick(1, 1, 2), pick(1, 1, 2))
                    }
                case .strassen:
                    isRows = pick(true, true, false)
                    (shape.h, shape.w) = (pick(7, 14), pick(14, 15, 17))
                    (shape.c, shape.o) = (pick(140, 192, 250, 326), pick(128, 150, 161, 200, 330))
                    if !isRows {
                        (shape.n, shape.stride_h, shape.stride_w) = (4, 2, 2)
                        (shape.pad_top, shape.pad_left) = (pick(0, 1), pick(0, 1))
                    }
                case .winograd:
                    (shape.kh, shape.kw) = pick((3, 3), (3, 3), (1, 7), (7, 1))
                    func pad(_ kernel: Int64) -> Int64 {
                        kernel == 1 ? 0 : kernel == 3 ? pick(0, 1, 2) : pick(0, 3, 3, 6)
                    }
                    (shape.pad_top, shape.pad_left) = (pad(shape.kh), pad(shape.kw))
                    shape.groups = pick(1, 1, 2, 3, 10)
                    shape.c = shape.groups * pick(1, 3, 8, 16, 30, 64)
                    shape.o = shape.groups * pick(1, 7, 8, 16, 24, 31, 33, 80)
                    combines.removeLast()
                case .depthwise:
                    let k: Int64 = pick(3, 5, 7, 2)
                    let stride: Int64 = pick(1, 2)
                    (shape.kh, shape.kw, shape.stride_h, shape.stride_w) = (k, k, stride, stride)
                    (shape.pad_top, shape.pad_left) = (pick(k / 2, 0), pick(k / 2, 1))
                    (shape.dilation_h, shape.dilation_w) = pick((1, 1), (1, 1), (2, 1))
                    shape.c = pick(1, 5, 16, 24, 58, 70)
                    (shape.o, shape.groups) = (shape.c, shape.c)
                case .grouped:
                    shape.groups = pick(1, 2, 3, 6, 9) + 1
                    (shape.c, shape.o) = (4 * shape.groups, 4 * shape.groups)
                    let (k, stride): (Int64, Int64) = pick((3, 1), (3, 2), (1, 1), (5, 1))
                    (shape.kh, shape.kw, shape.stride_h, shape.stride_w) = (k, k, stride, stride)
                    (shape.pad_top, shape.pad_left) = (k / 2, k / 2)
                    combines.removeLast()
                }
                let height = shape.h + 2 * shape.pad_top - shape.dilation_h * (shape.kh - 1) - 1
                let width = shape.w + 2 * shape.pad_left - shape.dilation_w * (shape.kw - 1) - 1
                guard height >= 0, width >= 0 else { return nil }
                (shape.oh, shape.ow) = (height / shape.stride_h + 1, width / shape.stride_w + 1)
                epilogue.activation = InferenceConvolution.activations[Int(random.next() % 9)]
                epilogue.combine = combines[Int(random.next() % UInt64(combines.count))]
                // Half of them with what the micro-kernel finishes itself.
                if kernel == .strassen, pick(true, false) {
                    (epilogue.activation, epilogue.combine) = (
                        pick(CK_RELU, CK_RELU6, CK_IDENTITY), pick(CK_COMBINE_NONE, CK_COMBINE_ADD_BEFORE)
                    )
                }
                if isRows {
                    prologue = pick(
                        CK_PROLOGUE_NONE, CK_PROLOGUE_AFFINE, CK_PROLOGUE_AFFINE_RELU, CK_PROLOGUE_IMAGE_SCALE,
                        CK_PROLOGUE_LAYER_NORM)
                    isPlainNorm = prologue == CK_PROLOGUE_LAYER_NORM && pick(true, false)
                    (gathers, scatters) = (pick(true, false), pick(true, false))
                }
                hasBias = pick(true, true, false)
                // Rows a multiple of 4096 bytes apart are copied.
                let isPacked1x1 = [.packed, .strassen, .amx].contains(kernel) && shape.kh == 1 && shape.kw == 1
                strides.x = isPacked1x1 ? pick(shape.c, shape.c + 3, 1024) : shape.c + pick(0, 3)
                strides.y = outputs.int64 + pick(0, 5)
                strides.residual = shape.o + pick(0, 2)
                // Winograd's error is relative to the products that cancel, which a few outputs may all be far below.
                if kernel == .winograd, rows * outputs < 16 { return nil }
                let isSum = epilogue.combine == CK_COMBINE_ADD_BEFORE || epilogue.combine == CK_COMBINE_ADD_AFTER
                isInPlace = isSum && pick(true, false)
                if isInPlace { strides.residual = strides.y }
            }
        }

        /// The operands of a problem and what comes out of it.
        final class Operands {
            let problem: Problem
            let x: Floats, weight: Floats, bias: Floats?, residual: Floats, scale: Floats, shift: Floats
            let inputRows: [Int32]?, outputRows: [Int32]?
            let eps: Float = 1e-5

            init(_ problem: Problem, _ random: inout Random) {
                self.problem = problem
                let s = problem.shape
                x = random.floats((problem.inputRows - 1) * Int(problem.strides.x) + Int(s.c))
                weight = random.floats(Int(s.o * s.kh * s.kw * (s.c / s.groups)))
                bias = problem.hasBias ? random.floats(Int(s.o)) : nil
                residual = random.floats((problem.rows - 1) * Int(problem.strides.residual) + Int(s.o))
                scale = random.floats(Int(s.n * s.c))
                shift = random.floats(Int(s.c))
                let (from, count) = (UInt64(problem.inputRows), problem.rows)
                inputRows =
                    problem.gathers
                    ? (0..<count).map { _ in random.next() % 7 == 0 ? -1 : Int32(random.next() % from) } : nil
                var order = (0..<Int32(count)).map { $0 }
                for i in stride(from: count - 1, to: 0, by: -1) { order.swapAt(i, Int(random.next() % UInt64(i + 1))) }
                outputRows = problem.scatters ? order.map { random.next() % 7 == 0 ? -1 : $0 } : nil
            }

            /// What `y` must hold, from what it held before.
            func expected(_ guardValue: Float) -> Floats {
                let s = problem.shape, (c, o) = (Int(s.c), Int(s.o))
                let dense = Floats(problem.inputRows * c)
                for row in 0..<problem.inputRows {
                    let source = inputRows.map { Int($0[row]) } ?? row
                    guard source >= 0 else { continue }
                    let values = (0..<c).map { Double(x.pointer[source * Int(problem.strides.x) + $0]) }
                    let mean = values.reduce(0, +) / Double(c)
                    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(c)
                    let image = row / Int(s.oh * s.ow)
                    for k in 0..<c {
                        let (a, b) =
                            problem.isPlainNorm ? (1, 0) : (Double(scale.pointer[k]), Double(shift.pointer[k]))
                        dense.pointer[row * c + k] =
                            switch problem.prologue {
                            case CK_PROLOGUE_AFFINE: Float(a * values[k] + b)
                            case CK_PROLOGUE_AFFINE_RELU: Float(max(0, a * values[k] + b))
                            case CK_PROLOGUE_IMAGE_SCALE: Float(Double(scale.pointer[image * c + k]) * values[k])
                            case CK_PROLOGUE_LAYER_NORM:
                                Float((values[k] - mean) / (variance + Double(eps)).squareRoot() * a + b)
                            default: Float(values[k])
                            }
                    }
                }
                let sums = Floats(problem.rows * o), values = Floats(problem.rows * o)
                ck_conv2d_forward_f32_ref([s], dense.pointer, weight.pointer, bias?.pointer, sums.pointer)
                let combine = problem.epilogue.combine
                func place(_ row: Int) -> Int { outputRows.map { Int($0[row]) } ?? row }
                func other(_ row: Int, _ k: Int) -> Float {
                    residual.pointer[place(row) * Int(problem.strides.residual) + k]
                }
                for row in 0..<problem.rows where place(row) >= 0 && combine == CK_COMBINE_ADD_BEFORE {
                    for k in 0..<o { sums.pointer[row * o + k] += other(row, k) }
                }
                ck_activation_forward_f32_ref(
                    problem.epilogue.activation, sums.pointer, values.pointer, Int64(sums.count))
                let y = target(guardValue)
                for row in 0..<problem.rows where place(row) >= 0 {
                    let target = y.pointer + place(row) * Int(problem.strides.y)
                    for k in 0..<o {
                        let value = values.pointer[row * o + k]
                        switch combine {
                        case CK_COMBINE_INTERLEAVE: (target[2 * k], target[2 * k + 1]) = (other(row, k), value)
                        case CK_COMBINE_ADD_AFTER: target[k] = value + other(row, k)
                        default: target[k] = value
                        }
                    }
                }
                return y
            }

            /// y before the kernel runs.
            func target(_ guardValue: Float) -> Floats {
                let y = Floats(outputCount, filledWith: guardValue)
                guard problem.isInPlace else { return y }
                for row in 0..<problem.rows {
                    for k in 0..<Int(problem.shape.o) {
                        let place = row * Int(problem.strides.y) + k
                        y.pointer[place] = residual.pointer[place]
                    }
                }
                return y
            }

            var outputCount: Int { (problem.rows - 1) * Int(problem.strides.y) + problem.outputs }

            /// Runs a prepared kernel over its units in the given parts.
            func run(
                _ packed: Floats, units: Int64, scratch: Int64, parts: Int64, guardValue: Float,
                _ body: (
                    UnsafePointer<ck_operands>, UnsafePointer<ck_packed_extras>, Int64, Int64,
                    UnsafeMutablePointer<Float>
                ) -> Void
            ) -> Floats {
                let y = target(guardValue)
                // Null where the contract says that the kernel does not use it.
                let hasResidual = problem.epilogue.combine != CK_COMBINE_NONE
                let hasScale = problem.prologue != CK_PROLOGUE_NONE && !problem.isPlainNorm
                // Allocated with the alignment that kernels ask for, full of NaN, and with a guard behind it.
                let memory = UnsafeMutableRawPointer.allocate(byteCount: (Int(scratch) + 16) * 4, alignment: 64)
                defer { memory.deallocate() }
                let work = memory.bindMemory(to: Float.self, capacity: Int(scratch) + 16)
                work.initialize(repeating: .nan, count: Int(scratch))
                (work + Int(scratch)).initialize(repeating: guardValue, count: 16)
                var operands = ck_operands(
                    x: x.pointer, weight: packed.pointer, bias: bias?.pointer,
                    residual: hasResidual ? UnsafePointer((problem.isInPlace ? y : residual).pointer) : nil,
                    y: y.pointer)
                func withRows(_ rows: [Int32]?, _ body: (UnsafePointer<Int32>?) -> Void) {
                    guard let rows else { return body(nil) }
                    rows.withUnsafeBufferPointer { body($0.baseAddress) }
                }
                withRows(inputRows) { inputRows in
                    withRows(outputRows) { outputRows in
                        var extras = ck_packed_extras(
                            scale: hasScale ? scale.pointer : nil, shift: hasScale ? shift.pointer : nil,
                            x_rows: inputRows, y_rows: outputRows, padding: nil, kept: nil)
                        // The last first: no unit may build on what another left in scratch, but for what it knows of.
                        var kept = ck_packed_kept()
                        withUnsafeMutablePointer(to: &kept) { kept in
                            if parts % 2 == 0 { extras.kept = kept }
                            for part in (0..<parts).reversed() {
                                body(&operands, &extras, units * part / parts, units * (part + 1) / parts, work)
                            }
                        }
                    }
                }
                for i in 0..<16 { #expect(work[Int(scratch) + i] == guardValue, "scratch overrun") }
                return y
            }
        }

        @Test(arguments: Kernel.allCases) func agreesWithTheReference(_ kernel: Kernel) {
            let guardValue: Float = 12345
            // Strassen's problems are some hundred times larger.
            for seed in 0..<(kernel == .strassen ? Self.seeds / 3 : Self.seeds) {
                var random = Random(seed * 7919 + 13)
                guard let problem = Problem(kernel, &random) else { continue }
                let operands = Operands(problem, &random)
                let expected = operands.expected(guardValue)
                // For other cores seven products are not faster than eight.
                atEveryLevel(choosingFor: kernel == .strassen ? CK_CORES_ZEN4 : ck_cores_current()) { level in
                    if kernel == .grouped, !ck_grouped_suits([problem.shape]) { return }
                    if kernel == .amx, level != "amx" { return }
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
            case .packed, .strassen, .amx:
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
                return o.run(packed, units: conv.units, scratch: 0, parts: parts, guardValue: guardValue) {
                    operands, _, begin, end, _ in
                    ck_grouped_run(&conv, operands, begin, end)
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
                atEveryLevel { level in
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
                    expectClose(y, expected, tolerance: 3e-5, "m \(m), seed \(seed), \(level)")
                }
            }
        }

        /// Rows a multiple of 4096 bytes apart, which are copied before they are multiplied: with and without strides and
        /// padding, of 1024 channels and of fewer.
        @Test(arguments: [(30, 1, 0), (1024, 1, 0), (30, 2, 0), (30, 2, 1)] as [(Int64, Int64, Int64)])
        func rowsFarApartAreMultipliedAlike(channels: Int64, stride: Int64, pad: Int64) {
            var random = Random(3000)
            guard var problem = (0..<50).lazy.compactMap({ _ in Problem(.packed, &random) }).first else { return }
            problem.shape = Self.winogradShape(c: Int(channels), o: 80, images: 2, size: 9)
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

        /// Plans of different image sizes and numbers of threads share packed weights, and threads share the packing.
        @Test func packedLayoutDependsOnTheWeightsAlone() {
            for seed in 0..<40 {
                var random = Random(seed + 3000)
                let kernel = Kernel.allCases[seed % 4]
                guard let problem = Problem(kernel, &random) else { continue }
                let s = problem.shape
                let weight = random.floats(Int(s.o * s.kh * s.kw * (s.c / s.groups)))
                atEveryLevel { level in
                    if kernel == .grouped, !ck_grouped_suits([s]) { return }
                    var layouts: Set<[Float]> = []
                    for (threads, size) in [(1, 20), (2, 20), (3, 57), (8, 224)] {
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
            case .packed, .strassen, .amx:
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
                    conv.shape = Self.winogradShape(c: c, o: o, images: images, size: size)
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
            let shape = Self.winogradShape(c: 64, o: 64, images: 1, size: 14)
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
            #expect(!ck_winograd_suits([Self.winogradShape(c: 512, o: 512, images: 1, size: 4)]))
            for (kh, kw) in [(1, 7), (7, 1)] as [(Int64, Int64)] {
                func line(_ size: Int) -> ck_conv2d_shape {
                    var line = Self.winogradShape(c: 160, o: 192, images: 1, size: size)
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
                var grouped = Self.winogradShape(c: 64, o: 64, images: 1, size: size)
                grouped.groups = groups.int64
                #expect(ck_winograd_suits([grouped]) == suits, "\(groups) groups, \(size) x \(size)")
            }
            for (c, o, images, size, m) in [
                (512, 512, 1, 7, 2), (160, 320, 1, 7, 3), (128, 256, 1, 6, 2), (64, 64, 1, 7, 4), (160, 320, 8, 7, 4),
                (512, 512, 1, 14, 4),
            ] {
                var conv = ck_winograd_conv()
                conv.shape = Self.winogradShape(c: c, o: o, images: images, size: size)
                ck_winograd_prepare(&conv, 2)
                #expect(ck_winograd_suits(&conv.shape) && conv.m == m, "\(c) to \(o), \(images) of \(size)")
            }
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
                    conv.shape = Self.winogradShape(c: c, o: o, images: 1, size: rows)
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

        private static func winogradShape(c: Int, o: Int, images: Int, size: Int) -> ck_conv2d_shape {
            var shape = ck_conv2d_shape()
            (shape.n, shape.c, shape.o, shape.groups) = (images.int64, c.int64, o.int64, 1)
            (shape.h, shape.w, shape.oh, shape.ow) = (size.int64, size.int64, size.int64, size.int64)
            (shape.kh, shape.kw, shape.pad_top, shape.pad_left) = (3, 3, 1, 1)
            (shape.stride_h, shape.stride_w, shape.dilation_h, shape.dilation_w) = (1, 1, 1, 1)
            return shape
        }
    }
}
