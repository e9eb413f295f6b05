import Tensors
import Testing

/// Convolutions and Linears on kernels of our own against OpenBLAS, forward and backward.
@Suite struct KernelConvolutionTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var input: [Int]
        var outputs: Int
        var geometry: Conv2dGeometry

        var testDescription: String { "\(input) to \(outputs), \(geometry)" }
    }

    static let cases: [Case] = [
        // Pointwise; Winograd's; other kernels, by way of the adjoint.
        Case(input: [2, 7, 9, 19], outputs: 37, geometry: .init(kernel: (1, 1))),
        Case(input: [2, 9, 11, 20], outputs: 34, geometry: .init(kernel: (3, 3), padding: (1, 1))),
        Case(input: [1, 12, 9, 18], outputs: 21, geometry: .init(kernel: (3, 3), padding: (2, 0))),
        Case(input: [2, 8, 9, 7], outputs: 5, geometry: .init(kernel: (5, 3), padding: (2, 1))),
        Case(input: [2, 11, 9, 6], outputs: 9, geometry: .init(kernel: (3, 3), padding: (2, 2), dilation: (2, 2))),
        // So few pixels that Winograd's weights are not worth it, and none are.
        Case(input: [1, 7, 7, 20], outputs: 34, geometry: .init(kernel: (3, 3), padding: (1, 1))),
        Case(input: [1, 5, 5, 20], outputs: 34, geometry: .init(kernel: (3, 3), padding: (1, 1))),
        // Strides, by way of phases: also those with phases without taps, pixels beyond the last window, and unequal axes.
        Case(input: [2, 14, 17, 10], outputs: 12, geometry: .init(kernel: (3, 3), stride: (2, 2), padding: (1, 1))),
        Case(input: [2, 15, 13, 12], outputs: 35, geometry: .init(kernel: (1, 1), stride: (2, 2))),
        Case(input: [2, 23, 22, 3], outputs: 33, geometry: .init(kernel: (7, 7), stride: (2, 2), padding: (3, 3))),
        Case(input: [3, 16, 24, 3], outputs: 16, geometry: .init(kernel: (4, 4), stride: (4, 4))),
        Case(input: [3, 17, 15, 5], outputs: 8, geometry: .init(kernel: (2, 3), stride: (3, 2), padding: (0, 1))),
        Case(input: [3, 17, 15, 5], outputs: 8, geometry: .init(kernel: (3, 3), stride: (1, 2), padding: (1, 1))),
        // What neither covers: more padding than the kernel, dilation with a stride.
        Case(input: [2, 7, 8, 5], outputs: 6, geometry: .init(kernel: (1, 1), padding: (2, 1))),
        Case(
            input: [2, 19, 18, 5], outputs: 6,
            geometry: .init(kernel: (3, 3), stride: (2, 2), padding: (2, 2), dilation: (2, 2))),
        Case(input: [2, 9, 8, 6], outputs: 66, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 2)),
        Case(
            input: [2, 15, 14, 8], outputs: 80,
            geometry: .init(kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 2)),
        // Small groups: of 4, 8, 16 and 24, of a kernel that has no code of its own, of more outputs than inputs, few pixels.
        Case(input: [2, 9, 11, 12], outputs: 12, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 3)),
        Case(input: [2, 14, 9, 40], outputs: 40, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 5)),
        Case(
            input: [2, 14, 15, 40], outputs: 40,
            geometry: .init(kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 5)),
        Case(
            input: [3, 13, 14, 48], outputs: 48,
            geometry: .init(kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 3)),
        Case(input: [2, 14, 9, 48], outputs: 48, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 2)),
        // So many pixels that the threads share them.
        Case(input: [4, 28, 30, 40], outputs: 40, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 5)),
        Case(input: [2, 10, 9, 16], outputs: 16, geometry: .init(kernel: (5, 3), padding: (2, 1), groups: 2)),
        Case(
            input: [2, 11, 9, 16], outputs: 16,
            geometry: .init(kernel: (5, 5), stride: (2, 2), padding: (2, 2), groups: 4)),
        Case(input: [2, 10, 9, 9], outputs: 18, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 9)),
        Case(input: [1, 4, 5, 24], outputs: 24, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 6)),
        Case(input: [1, 4, 5, 12], outputs: 20, geometry: .init(kernel: (1, 1), groups: 2)),
    ]

    @Test(arguments: cases) func agreesWithOpenBLAS(_ test: Case) {
        var source = RandomSource(seed: 3)
        let g = test.geometry
        let x = Tensor.random(test.input, using: &source)
        let weight = Tensor.random(
            [test.outputs, g.kernelHeight, g.kernelWidth, test.input[3] / g.groups], using: &source)
        let bias = Tensor.random([test.outputs], using: &source)
        Self.compare([x, weight, bias], "\(test)") { $0[0].conv2d($0[1], bias: $0[2], g) }
    }

    @Test(arguments: [[65, 7, 3], [40, 30, 20], [2, 50, 37, 70], [400, 96, 130]])
    func linearAgreesWithOpenBLAS(_ sizes: [Int]) {
        var source = RandomSource(seed: 5)
        let (inputs, outputs) = (sizes[sizes.count - 2], sizes.last!)
        let x = Tensor.random(Array(sizes.dropLast()), using: &source)
        let weight = Tensor.random([outputs, inputs], using: &source)
        let bias = Tensor.random([outputs], using: &source)
        Self.compare([x, weight, bias], "linear \(sizes)") { $0[0].linear($0[1], bias: $0[2]) }
    }

    /// Both engines: outputs and gradients; and the kernels' once more, to the last bit.
    private static func compare(_ inputs: [Tensor], _ label: String, _ function: ([Tensor]) -> Tensor) {
        func run() -> [Tensor] {
            var gradients = [Tensor?](repeating: nil, count: inputs.count)
            let output = function(inputs.indices.map { index in inputs[index].watched { gradients[index] = $0 } })
            var source = RandomSource(seed: 4)
            output.backward(gradient: .random(output.shape, using: &source))
            return [output.detached] + gradients.compactMap { $0 }
        }
        let expected = Engine.withoutPlans { run() }, actual = run()
        #expect(actual.count == expected.count)
        for (index, (a, b)) in zip(actual, expected).enumerated() {
            #expect(a.shape == b.shape)
            let scale = (b.scalars.reduce(0) { $0 + $1 * $1 } / Float(b.count)).squareRoot()
            let worst = zip(a.scalars, b.scalars).map { abs($0 - $1) }.max() ?? 0
            #expect(worst <= 3e-5 * scale, "\(label): tensor \(index) differs by \(worst), of \(scale)")
        }
        #expect(run().map(\.scalars) == actual.map(\.scalars), "\(label): not the same twice")
    }
}
