import CKernels
import Testing

extension KernelTests {
    @Suite struct WeightGradient {
        typealias Case = Convolution.Case

        static let cases: [Case] =
            Convolution.denseCases + [
                .init(n: 2, h: 7, w: 9, c: 36, o: 24, k: (3, 3), pad: (1, 1), groups: 3),
                .init(n: 3, h: 5, w: 6, c: 12, o: 50, k: (1, 1)),
                .init(n: 1, h: 9, w: 9, c: 40, o: 70, k: (3, 3), stride: (2, 2), pad: (1, 1)),
                .init(n: 2, h: 21, w: 19, c: 13, o: 33, k: (1, 1), stride: (2, 2)),  // more than one block of pixels
                .init(n: 1, h: 1, w: 700, c: 25, o: 97, k: (1, 1)),
                .init(n: 2, h: 6, w: 5, c: 26, o: 31, k: (2, 3), pad: (1, 0), dilation: (2, 1)),
            ]

        @Test(arguments: cases)
        func agreesWithTheReference(_ problem: Case) {
            let shape = problem.shape, channels = problem.c / problem.groups
            let count = problem.o * problem.taps * channels
            var random = Random(count + problem.pixels)
            let x = random.floats(problem.inputs), dy = random.floats(problem.pixels * problem.o)
            let expected = Floats(count)
            ck_conv2d_backward_f32_ref([shape], x.pointer, nil, dy.pointer, nil, expected.pointer)
            func check(_ level: String, inPairs: Bool) {
                var first: [Float]?
                for (threads, parts) in [(1, 1), (2, 2), (7, 5)] {
                    var task = ck_weight_gradient()
                    task.shape = shape
                    ck_weight_gradient_prepare(&task, threads.int64)
                    let suits = problem.o / problem.groups >= 24 && problem.pixels >= 48
                    #expect(task.paired == (inPairs && suits && level == "avx512"))
                    let actual = Floats(count, filledWith: .nan)
                    let scratch = Floats(Int(task.scratch), filledWith: .nan)
                    // At the level that it was prepared for, and in the order that threads may finish in.
                    let now = ck_level_current()
                    ck_level_set(CK_LEVEL_PORTABLE)
                    for part in (0..<parts.int64).reversed() {
                        let (begin, end) = (task.units * part / parts.int64, task.units * (part + 1) / parts.int64)
                        ck_weight_gradient_run(
                            &task, x.pointer, dy.pointer, begin, end, actual.pointer, scratch.pointer)
                    }
                    ck_level_set(now)
                    let label = "\(problem), \(level), \(threads) threads"
                    expectClose(actual, expected, tolerance: 2e-5, label)
                    if let first, first != actual.values { Issue.record("\(label): depends on the division of work") }
                    first = first ?? actual.values

                    // Once more on top.
                    task.adds = true
                    ck_weight_gradient_run(
                        &task, x.pointer, dy.pointer, 0, task.units, actual.pointer, scratch.pointer)
                    expectClose(actual, Floats(expected.values.map { 2 * $0 }), tolerance: 2e-5, "twice, \(label)")
                }
            }
            // Some cores add the products of pixels up in pairs.
            atEveryLevel(choosingFor: CK_CORES_ZEN4) { check($0, inPairs: true) }
            atEveryLevel(choosingFor: CK_CORES_ZEN5) { check($0, inPairs: false) }
        }

        /// The gradient of weights whose inputs, or whose outputs' gradients, are all 0 is exactly that; others may be of any
        /// magnitude beside them.
        @Test func zerosGiveZeros() {
            var task = ck_weight_gradient()
            task.shape = Case(n: 2, h: 9, w: 11, c: 40, o: 50, k: (1, 1)).shape
            let (pixels, c, o) = (2 * 9 * 11, 40, 50)
            var random = Random(5)
            let x = random.floats(pixels * c), dy = random.floats(pixels * o)
            for p in 0..<pixels {
                for i in 0..<c { x.pointer[p * c + i] *= i == 7 ? 0 : Float(sign: .plus, exponent: i, significand: 1) }
                for i in 0..<o {
                    dy.pointer[p * o + i] *= i == 30 ? 0 : Float(sign: .plus, exponent: -i, significand: 1)
                }
            }
            let sums = (0..<o * c).map { index in
                (0..<pixels).reduce(0.0) {
                    $0 + Double(x.pointer[$1 * c + index % c]) * Double(dy.pointer[$1 * o + index / c])
                }
            }
            atEveryLevel(choosingFor: CK_CORES_ZEN4) { level in
                ck_weight_gradient_prepare(&task, 1)
                let actual = Floats(o * c), scratch = Floats(Int(task.scratch), filledWith: .nan)
                ck_weight_gradient_run(&task, x.pointer, dy.pointer, 0, task.units, actual.pointer, scratch.pointer)
                for index in 0..<o * c {
                    let (row, column) = (index / c, index % c)
                    if row == 30 || column == 7 {
                        #expect(actual.pointer[index] == 0, "\(row), \(column), \(level)")
                    } else {
                        let size = Double(sign: .plus, exponent: column - row, significand: 1)
                        #expect(
                            abs(Double(actual.pointer[index]) - sums[index]) < 3e-5 * size,
                            "\(row), \(column), \(level)")
                    }
                }
            }
        }

        /// Small groups, whose last vector may be partly empty: all sizes that there is a kernel for.
        static let groupedCases: [Case] = {
            let groups = [(3, 4), (5, 4), (8, 4), (2, 8), (3, 8), (5, 8), (4, 16), (3, 16), (2, 32), (2, 48)]
            let images = [(5, 7, 1, 1), (9, 15, 1, 1), (8, 9, 2, 1), (7, 30, 2, 0), (1, 2, 1, 1), (4, 6, 1, 2)]
            return groups.flatMap { groups, size in
                images.map { h, w, stride, pad in
                    Case(
                        n: 3, h: h, w: w, c: groups * size, o: groups * size, k: (3, 3), stride: (stride, stride),
                        pad: (pad, pad), groups: groups)
                }
            }
        }()

        @Test(arguments: groupedCases)
        func groupedAgreesWithTheReference(_ problem: Case) {
            let shape = problem.shape, (xStride, yStride) = (problem.c + 3, problem.o + 5)
            let count = problem.o * problem.taps * problem.c / problem.groups
            var random = Random(count + problem.pixels)
            let x = random.floats(problem.inputs), dy = random.floats(problem.pixels * problem.o)
            let expected = Floats(count)
            ck_conv2d_backward_f32_ref([shape], x.pointer, nil, dy.pointer, nil, expected.pointer)
            // As channels of wider arrays, of which nothing else may be read.
            func widened(_ values: Floats, _ width: Int, _ stride: Int) -> Floats {
                let wide = Floats(values.count / width * stride, filledWith: .nan)
                for i in 0..<values.count { wide.pointer[i / width * stride + i % width] = values.pointer[i] }
                return wide
            }
            let wideX = widened(x, problem.c, xStride), wideY = widened(dy, problem.o, yStride)
            atEveryLevel { level in
                guard ck_grouped_computes([shape]) else { return }
                var conv = ck_grouped_conv()
                conv.shape = shape
                conv.strides = ck_strides(x: xStride.int64, y: yStride.int64, residual: 0)
                ck_grouped_prepare(&conv, 2)
                let packed = Floats(Int(ck_grouped_weights(&conv)))
                let scratch = Floats(Int(conv.scratch), filledWith: .nan)
                let rows = (problem.n * problem.outputSize.0).int64
                for (begin, end) in [(rows / 3, rows), (0, rows / 3)] {
                    ck_grouped_weight_gradient(
                        &conv, wideX.pointer, wideY.pointer, begin, end, packed.pointer, scratch.pointer)
                }
                let actual = Floats(count, filledWith: .nan)
                ck_grouped_unpack(&conv, packed.pointer, actual.pointer)
                expectClose(actual, expected, tolerance: 2e-5, "\(problem), \(level)")
                // Packed again, it is what it was.
                let again = Floats(packed.count, filledWith: .nan)
                ck_grouped_pack(&conv, actual.pointer, again.pointer)
                let isPadded = problem.c % 16 != 0  // the lanes behind the last channel
                #expect(isPadded || again.values == packed.values, "\(problem), \(level)")
            }
        }

        /// Kernels, strides and groups that the kernel for small groups has no code for.
        @Test func smallGroupsOfOtherKindsAreLeftToOthers() {
            atEveryLevel { level in
                func computes(_ change: (inout Case) -> Void) -> Bool {
                    var problem = Case(n: 1, h: 9, w: 9, c: 32, o: 32, k: (3, 3), pad: (1, 1), groups: 4)
                    change(&problem)
                    return ck_grouped_computes([problem.shape])
                }
                #expect(computes { _ in } == (level != "portable"), "\(level)")
                let changes: [(inout Case) -> Void] = [
                    { $0.k = (5, 5) }, { $0.k = (3, 1) }, { $0.stride = (2, 1) }, { $0.stride = (3, 3) },
                    { $0.dilation = (2, 2) }, { $0.groups = 1 }, { $0.groups = 16 }, { $0.o = 64 },
                    { ($0.c, $0.o) = (48, 48) },
                ]
                for (index, change) in changes.enumerated() { #expect(!computes(change), "change \(index), \(level)") }
            }
        }
    }
}
