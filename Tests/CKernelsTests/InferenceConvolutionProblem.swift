import CKernels
import Testing

extension KernelTests.InferenceConvolution {
    /// `strassen`: products for `packed` that are large enough for seven multiplications instead of eight; `amx` and
    /// `paired`: those of `packed` with AMX and with terms in pairs, at the level that has it.
    enum Kernel: CaseIterable {
        case packed, strassen, amx, paired, winograd, depthwise, grouped

        var weightLayout: ck_weight_layout {
            self == .amx ? CK_WEIGHTS_AMX : self == .paired ? CK_WEIGHTS_PAIRED : CK_WEIGHTS_VECTORS
        }
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
            case .packed, .amx, .paired:
                shape.groups = kernel == .packed ? pick(1, 1, 2, 5) : 1
                isRows = shape.groups == 1 && pick(true, false)
                shape.c = shape.groups * pick(1, 3, 5, 16, 30, 64)
                if kernel == .paired, pick(true, false) { shape.c = pick(47, 48, 49, 50, 96, 145) }
                shape.o = shape.groups * pick(1, 7, 16, 24, 31, 33, 48, 80)
                if !isRows {
                    (shape.kh, shape.kw) = (pick(1, 2, 3, 5), pick(1, 2, 3, 7))
                    (shape.stride_h, shape.stride_w) = (pick(1, 2, 4), pick(1, 2, 4))
                    (shape.pad_top, shape.pad_left) = (pick(0, 1, 3), pick(0, 2, 3))
                    (shape.dilation_h, shape.dilation_w) = (pick(1, 1, 2), pick(1, 1, 2))
                }
            case .strassen:
                isRows = pick(true, true, false)
                (shape.n, shape.h, shape.w) = pick((1, 18, 17), (2, 14, 15), (3, 7, 17), (3, 15, 20))
                (shape.c, shape.o) = pick((770, 260), (768, 330), (900, 257), (802, 512))
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
                // With these, some cores pair channels.
                if pick(true, false, false) {
                    (shape.groups, shape.c, shape.o) = (1, pick(48, 64, 80, 96, 112), pick(86, 96, 121))
                }
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
                shape.c = shape.groups * pick(4, 8, 16, 32)
                shape.o = shape.c
                let stride: Int64 = pick(1, 2)
                (shape.kh, shape.kw, shape.stride_h, shape.stride_w) = (3, 3, stride, stride)
                (shape.pad_top, shape.pad_left) = (pick(0, 1, 1, 2, 4), pick(0, 1, 1, 2, 4))
                if pick(true, false) { shape.w = pick(28, 33, 56) }
                combines.removeLast()
            }
            let height = shape.h + 2 * shape.pad_top - shape.dilation_h * (shape.kh - 1) - 1
            let width = shape.w + 2 * shape.pad_left - shape.dilation_w * (shape.kw - 1) - 1
            guard height >= 0, width >= 0 else { return nil }
            (shape.oh, shape.ow) = (height / shape.stride_h + 1, width / shape.stride_w + 1)
            epilogue.activation = KernelTests.InferenceConvolution.activations[Int(random.next() % 9)]
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
            let isPacked1x1 = [.packed, .strassen, .amx, .paired].contains(kernel) && shape.kh == 1 && shape.kw == 1
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
}

/// A 3 x 3 convolution of square images that keeps their size.
func squareConvolution(c: Int, o: Int, images: Int, size: Int) -> ck_conv2d_shape {
    var shape = ck_conv2d_shape()
    (shape.n, shape.c, shape.o, shape.groups) = (images.int64, c.int64, o.int64, 1)
    (shape.h, shape.w, shape.oh, shape.ow) = (size.int64, size.int64, size.int64, size.int64)
    (shape.kh, shape.kw, shape.pad_top, shape.pad_left) = (3, 3, 1, 1)
    (shape.stride_h, shape.stride_w, shape.dilation_h, shape.dilation_w) = (1, 1, 1, 1)
    return shape
}
