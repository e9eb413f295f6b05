import Tensors
import Testing

@Suite struct GatherRowsTests {
    static let cases: [(name: String, sources: [Int], rows: Int, shape: [Int])] = [
        ("permutation", [2, 0, 3, 1], 4, [2, 4, 5]),
        ("padding and gaps", [RowGather.blank, 3, RowGather.blank, 0], 5, [3, 5, 2]),
        ("table", [1, 1, 0, 2, 1, 2, 2, 2], 3, [1, 3, 4]),
        ("repeats in a batch", [1, 0, 1, RowGather.blank], 2, [2, 2, 3]),
    ]

    @Test(arguments: cases) func matchesItsDefinition(name: String, sources: [Int], rows: Int, shape: [Int]) {
        let x = Tensor.random(shape, seed: 1), gather = RowGather(sources, of: rows)
        let (got, values, width) = (x.gatheringRows(gather).scalars, x.scalars, shape[2])
        var expected: [Float] = []
        for sample in 0..<shape[0] {
            for source in sources {
                expected +=
                    source == RowGather.blank
                    ? [Float](repeating: 0, count: width)
                    : Array(values[(sample * rows + source) * width..<(sample * rows + source + 1) * width])
            }
        }
        #expect(got == expected, "\(name)")
        GradientCheck.check(name, [x]) { $0[0].gatheringRows(gather) }
    }

    @Test func theInverseRestoresEveryRow() {
        let gather = RowGather([3, RowGather.blank, 1, 0, 2, RowGather.blank], of: 4)
        let x = Tensor.random([2, 4, 3], seed: 2)
        #expect(x.gatheringRows(gather).gatheringRows(gather.inverted).scalars == x.scalars)
    }
}

@Suite struct ClampTests {
    @Test func clampsAndPassesTheGradientInside() {
        let x = Tensor([-3, -1, 0.5, 2, 4], shape: [5])
        #expect(x.clamped(low: -1, high: 2).scalars == [-1, -1, 0.5, 2, 2])
        #expect(x.clamped(high: 2).scalars == [-3, -1, 0.5, 2, 2])
        let inside = Tensor([-3, -0.5, 0.5, 1.5, 4], shape: [5])
        GradientCheck.check("clamp", [inside]) { $0[0].clamped(low: -1, high: 2) }
        // At the bounds too, as in PyTorch.
        var gradient: Tensor?
        let y = Tensor([-1, 2], shape: [2]).watched { gradient = $0 }.clamped(low: -1, high: 2)
        y.backward(gradient: .ones([2]))
        #expect(gradient?.scalars == [1, 1])
    }
}
