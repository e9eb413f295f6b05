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
            atEveryLevel { level in
                var first: [Float]?
                for (threads, parts) in [(1, 1), (2, 2), (7, 5)] {
                    var task = ck_weight_gradient()
                    task.shape = shape
                    ck_weight_gradient_prepare(&task, threads.int64)
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
        }
    }
}
