import CKernels
import Testing

extension KernelTests {
    /// Packing from a view of another convolution's weights against packing those weights turned.
    @Suite struct WeightView {
        typealias Case = Convolution.Case

        /// Of the convolutions that compute input gradients: from `o` of the other one to its `c`.
        static let cases: [Case] = [
            .init(h: 4, w: 5, c: 3, o: 5, k: (1, 1)),
            .init(h: 4, w: 5, c: 40, o: 37, k: (1, 1)),
            .init(h: 4, w: 5, c: 35, o: 18, k: (3, 3), pad: (1, 1)),
            .init(h: 9, w: 9, c: 70, o: 33, k: (3, 3), pad: (1, 1)),
            .init(h: 9, w: 9, c: 72, o: 120, k: (3, 3), pad: (1, 1), groups: 3),
            .init(h: 4, w: 5, c: 12, o: 20, k: (2, 5), pad: (1, 2)),
            .init(h: 9, w: 17, c: 40, o: 33, k: (1, 7), pad: (0, 3)),
            .init(h: 17, w: 9, c: 40, o: 33, k: (7, 1), pad: (3, 0)),
            .init(h: 4, w: 5, c: 12, o: 70, k: (3, 2), pad: (1, 1), groups: 2),
        ]

        @Test(arguments: cases) func packsAsTheTurnedWeights(_ problem: Case) {
            let (groups, taps) = (problem.groups, problem.taps)
            let (inputs, outputs) = (problem.c / groups, problem.o / groups)
            var random = Random(problem.c * 100 + problem.o)
            // Of the other convolution: [inputs of all groups, taps, outputs of one].
            let original = random.floats(problem.c * taps * outputs), turned = Floats(original.count)
            for group in 0..<groups {
                for (o, tap, i) in product(outputs, taps, inputs) {
                    turned.pointer[((group * outputs + o) * taps + tap) * inputs + i] =
                        original.pointer[((group * inputs + i) * taps + taps - 1 - tap) * outputs + o]
                }
            }
            let view = ck_weight_view(
                first: original.pointer + (taps - 1) * outputs, group: (inputs * taps * outputs).int64,
                input: (taps * outputs).int64, kh: -(problem.k.1 * outputs).int64, kw: -outputs.int64)
            atEveryLevel { level in
                var conv = ck_packed_conv()
                conv.shape = problem.shape
                conv.strides = ck_strides(x: conv.shape.c, y: conv.shape.o, residual: 0)
                for layout in [CK_WEIGHTS_ANY, CK_WEIGHTS_PAIRED] {
                    conv.weight_layout = layout
                    ck_packed_conv_prepare(&conv, 2)
                    let count = Int(ck_packed_conv_weights(&conv))
                    let expected = Floats(count, filledWith: .nan), actual = expected.copy
                    ck_packed_conv_pack(&conv, turned.pointer, expected.pointer)
                    for panel in 0..<conv.panels {
                        ck_packed_conv_pack_view(&conv, [view], actual.pointer, panel, panel + 1)
                    }
                    #expect(actual.values == expected.values, "\(problem), \(level), \(layout)")
                }

                guard ck_winograd_suits([problem.shape]) else { return }
                var winograd = ck_winograd_conv()
                (winograd.shape, winograd.strides) = (conv.shape, conv.strides)
                ck_winograd_prepare(&winograd, 2)
                let weights = Floats(Int(ck_winograd_weights(&winograd)), filledWith: .nan), viewed = weights.copy
                ck_winograd_pack(&winograd, turned.pointer, 0, winograd.panels, weights.pointer)
                ck_winograd_pack_view(&winograd, [view], 0, winograd.panels, viewed.pointer)
                #expect(viewed.values == weights.values, "Winograd, \(problem), \(level)")
            }
        }

        private func product(_ a: Int, _ b: Int, _ c: Int) -> [(Int, Int, Int)] {
            (0..<a * b * c).map { ($0 / (b * c), $0 / c % b, $0 % c) }
        }
    }
}
