import Layers
import Tensors
import Testing

@Suite struct GeMPool2dTests {
    /// `[2, 3, 2, 3]`, with values on both sides of 0.
    private static let input = Tensor(
        (0..<36).map { Float(($0 * 37 + 11) % 127 - 63) / 64 }, shape: [2, 3, 2, 3])

    /// The numbers are torch's, in float64:
    ///
    ///     x = (torch.arange(36, dtype=torch.float64) * 37 + 11) % 127
    ///     x = ((x - 63) / 64).reshape(2, 3, 2, 3)
    ///     x.clamp(min=1e-6).pow(p).mean((1, 2)).pow(1 / p)
    private static let expected: [(p: Float, values: [Float])] = [
        (1, [0.3645837, 0.208334, 0.0729173, 0.3281255, 0.2057298, 0.3020837]),
        (2, [0.5014627, 0.36799, 0.1454608, 0.4859685, 0.4146272, 0.4347009]),
        (2.5, [0.5446998, 0.4145575, 0.1704521, 0.5315386, 0.4869192, 0.4767425]),
        (3, [0.579379, 0.4500343, 0.1904435, 0.5670446, 0.5446644, 0.5102232]),
        (4, [0.6322209, 0.501297, 0.2199398, 0.6201127, 0.6296128, 0.5608469]),
        (6, [0.7009167, 0.5642354, 0.2550237, 0.6883625, 0.7302778, 0.6260126]),
    ]

    @Test func valuesAreTorchs() {
        for (p, values) in Self.expected {
            let output = GeMPool2d(p: p)(Self.input)
            #expect(output.shape == [2, 1, 1, 3])
            for (got, value) in zip(output.scalars, values) {
                #expect(abs(got - value) < 2e-6, "p = \(p): \(got), expected \(value)")
            }
        }
    }

    @Test func withExponentOneItAveragesWhatIsPositive() {
        let positive = Self.input.squared() + 0.01
        let (got, expected) = (GeMPool2d(p: 1)(positive), AdaptiveAvgPool2d(1)(positive))
        #expect(got.shape == expected.shape)
        #expect(got.scalars == expected.scalars)
    }

    @Test(arguments: [Float(1), 2, 2.5, 3, 4, 6]) func channelsWithoutAPositiveValueBecomeEps(p: Float) {
        let output = GeMPool2d(p: p)(Tensor(repeating: -1, shape: [1, 4, 5, 2]))
        for value in output.scalars { #expect(abs(value - 1e-6) < 1e-10, "p = \(p): \(value)") }
    }

    @Test(arguments: [Float(1), 2, 2.5, 3, 4, 6]) func gradientsAreThoseOfDifferences(p: Float) {
        // Away from the kink at eps, on both sides of it.
        let input = Tensor(Self.input.scalars.map { abs($0) < 0.05 ? 0.05 : $0 }, shape: Self.input.shape)
        let weights = Tensor([1, -0.5, 0.75, 0.25, -1, 0.5], shape: [2, 1, 1, 3])
        let pool = GeMPool2d(p: p)
        func value(_ x: Tensor) -> Double {
            zip(pool(x).scalars, weights.scalars).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        var gradient: Tensor?
        pool(input.watched { gradient = $0 }).backward(gradient: weights)
        guard let gradient else {
            Issue.record("p = \(p): no gradient")
            return
        }
        #expect(gradient.shape == input.shape)
        #expect(gradient.scalars.contains { $0 != 0 })
        let step: Float = 4e-3
        for index in 0..<input.count {
            func shifted(_ delta: Float) -> Tensor {
                var scalars = input.scalars
                scalars[index] += delta
                return Tensor(scalars, shape: input.shape)
            }
            let difference = Float((value(shifted(step)) - value(shifted(-step))) / (2 * Double(step)))
            let got = gradient.scalars[index]
            #expect(abs(got - difference) < 1e-3, "p = \(p), element \(index): \(got), difference \(difference)")
        }
    }

    @Test func gradientsOfAChannelWithoutAPositiveValueAreZero() {
        var gradient: Tensor?
        let x = Tensor(repeating: -1, shape: [1, 2, 2, 1])
        GeMPool2d()(x.watched { gradient = $0 }).backward(gradient: .ones([1, 1, 1, 1]))
        #expect(gradient?.scalars == [0, 0, 0, 0])
    }

    @Test(arguments: [Float(1), 2.5, 3]) func aPlanComputesWhatTheOperationsDo(p: Float) {
        let model = withRandomSeed(3) {
            Sequential(
                Conv2d(3, 8, kernelSize: 3, stride: 2, padding: 1), ReLU(), GeMPool2d(p: p), Flatten(), Linear(8, 5))
        }
        model.eval()
        #expect(model.planSummary(imageShape: [9, 7, 3]) != nil)
        var source = RandomSource(seed: 4)
        for batch in [1, 3] {
            let scalars = (0..<batch * 189).map { _ in Float(source.normal()) }
            let x = Tensor(scalars, shape: [batch, 9, 7, 3])
            let (planned, expected) = GradientMode.disabled { (model(x), Engine.withoutPlans { model(x) }) }
            #expect(planned.shape == [batch, 5])
            for (a, b) in zip(planned.scalars, expected.scalars) {
                #expect(abs(a - b) < 1e-5, "batch \(batch): \(a) in the plan, \(b) without")
            }
        }
    }
}
