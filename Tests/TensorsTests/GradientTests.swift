import Tensors
import Testing

/// Every operation's way back against central differences.
@Suite struct GradientTests {
    private var source = RandomSource(seed: 1)

    private mutating func random(_ shape: Int...) -> Tensor { .random(shape, using: &source) }

    @Test mutating func elementwise() {
        let a = random(3, 4, 5)
        for (name, b) in [
            ("same shape", random(3, 4, 5)), ("row", random(5)), ("column", random(3, 1, 1)),
            ("middle", random(4, 1)), ("scalar", random(1)),
        ] {
            GradientCheck.check("add, \(name)", [a, b]) { $0[0] + $0[1] }
            GradientCheck.check("subtract, \(name)", [a, b]) { $0[0] - $0[1] }
            GradientCheck.check("subtract from \(name)", [b, a]) { $0[0] - $0[1] }
            GradientCheck.check("multiply, \(name)", [a, b]) { $0[0] * $0[1] }
            GradientCheck.check("divide, \(name)", [a, b.squared() + 1]) { $0[0] / $0[1] }
        }
        let image = random(2, 3, 4, 5)
        for (name, scale) in [
            ("images' channels", random(2, 1, 1, 5)), ("rows", random(3, 1, 5)), ("channels", random(5)),
        ] {
            GradientCheck.check("scale of \(name)", [image, scale]) { $0[0] * $0[1] }
            GradientCheck.check("\(name) scaled", [scale, image]) { $0[0] * $0[1] }
        }
        GradientCheck.check("constants", [a]) { 3 - $0[0] * 2 / 4 + 1 }
        let positive = a.squared() + 0.5
        GradientCheck.check("exp", [a]) { $0[0].exp() }
        GradientCheck.check("log", [positive]) { $0[0].log() }
        GradientCheck.check("square root", [positive]) { $0[0].squareRoot() }
        GradientCheck.check("square", [a]) { $0[0].squared() }
        GradientCheck.check("reciprocal", [positive]) { $0[0].reciprocal() }
    }

    @Test(arguments: Activation.allCases) func activations(activation: Activation) {
        // Points away from the kinks at -3, 0, 3 and 6.
        let x = Tensor((0..<64).map { Float($0) * 0.25 - 6.1 }, shape: [64])
        GradientCheck.check("\(activation)", [x], tolerance: 4e-3) { $0[0].activated(activation) }
    }

    @Test mutating func reductionsAndShapes() {
        let x = random(2, 3, 4, 5)
        GradientCheck.check("sum", [x]) { $0[0].sum() }
        GradientCheck.check("sum of axes", [x]) { $0[0].sum(axes: 1, 3) }
        GradientCheck.check("mean", [x]) { $0[0].mean(axes: 1, 2, keepingAxes: true) }
        GradientCheck.check("mean of the first axis", [x]) { $0[0].mean(axes: 0) }
        GradientCheck.check("norm", [x]) { $0[0].norm() }
        GradientCheck.check("unit norm", [x]) { $0[0] / $0[0].norm() }
        GradientCheck.check("expand", [random(3, 1, 5)]) { $0[0].expanded(to: [2, 3, 4, 5]) }
        GradientCheck.check("reshape", [x]) { $0[0].reshaped([6, -1]) }
        GradientCheck.check("permute", [x]) { $0[0].permuted([2, 0, 3, 1]) }
        GradientCheck.check("flatten", [x]) { $0[0].flattenedChannelsFirst() }
        GradientCheck.check("slice", [x]) { $0[0].sliced(axis: -2, 1..<3) }
        GradientCheck.check("concatenate", [x, random(2, 3, 2, 5)]) { .concatenated($0, axis: 2) }
        GradientCheck.check("softmax", [x]) { $0[0].softmax() }
        GradientCheck.check("log softmax", [x]) { $0[0].logSoftmax() }
        GradientCheck.check("cross entropy", [random(4, 6)]) { $0[0].crossEntropy([0, 5, 2, 2]) }
        GradientCheck.check("label smoothing", [random(4, 6)]) {
            $0[0].crossEntropy([0, 5, 2, 2], labelSmoothing: 0.1)
        }
    }

    @Test mutating func linear() {
        GradientCheck.check("linear", [random(3, 7), random(5, 7), random(5)]) { $0[0].linear($0[1], bias: $0[2]) }
        GradientCheck.check("linear on tokens", [random(2, 3, 7), random(5, 7)]) { $0[0].linear($0[1]) }
    }

    struct ConvolutionCase: CustomTestStringConvertible, Sendable {
        var size = (7, 6)
        var channels = 4
        var outputs = 6
        var geometry: Conv2dGeometry
        var batch = 2
        var testDescription: String { "\(size), \(channels) to \(outputs), \(geometry)" }
    }

    static let convolutions = [
        ConvolutionCase(geometry: .init(kernel: (1, 1))),
        ConvolutionCase(geometry: .init(kernel: (1, 1), stride: (2, 2))),
        ConvolutionCase(geometry: .init(kernel: (3, 3), padding: (1, 1))),
        ConvolutionCase(geometry: .init(kernel: (3, 3), stride: (2, 2), padding: (1, 1))),
        ConvolutionCase(size: (9, 11), geometry: .init(kernel: (5, 3), stride: (1, 2), padding: (2, 0))),
        ConvolutionCase(size: (9, 9), geometry: .init(kernel: (3, 3), padding: (2, 2), dilation: (2, 2))),
        ConvolutionCase(size: (5, 9), geometry: .init(kernel: (1, 7), padding: (0, 3))),
        ConvolutionCase(size: (3, 3), geometry: .init(kernel: (3, 3), padding: (3, 3))),
        ConvolutionCase(geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 2)),
        ConvolutionCase(geometry: .init(kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 2)),
        ConvolutionCase(channels: 6, outputs: 96, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 2)),
        ConvolutionCase(channels: 10, outputs: 10, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 10)),
        ConvolutionCase(
            channels: 33, outputs: 33, geometry: .init(kernel: (5, 5), stride: (2, 2), padding: (2, 2), groups: 33)),
        ConvolutionCase(channels: 4, outputs: 8, geometry: .init(kernel: (3, 3), padding: (1, 1), groups: 4)),
        ConvolutionCase(
            size: (20, 19), channels: 3, outputs: 16, geometry: .init(kernel: (7, 7), stride: (2, 2), padding: (3, 3)),
            batch: 1),
        ConvolutionCase(
            size: (30, 30), channels: 40, outputs: 33, geometry: .init(kernel: (3, 3), padding: (1, 1)), batch: 1),
    ]

    @Test(arguments: convolutions) mutating func convolution(test: ConvolutionCase) {
        let (height, width) = test.geometry.kernel
        let weight = random(test.outputs, height, width, test.channels / test.geometry.groups)
        GradientCheck.check(
            "\(test.testDescription)",
            [random(test.batch, test.size.0, test.size.1, test.channels), weight, random(test.outputs)],
            step: 5e-2
        ) { $0[0].conv2d($0[1], bias: $0[2], test.geometry) }
    }

    @Test mutating func pooling() {
        let x = random(2, 7, 8, 5)
        for ceilMode in [false, true] {
            let window = Pool2dGeometry(kernel: 3, stride: 2, padding: 1, ceilMode: ceilMode)
            // Small steps, so that no maximum changes its place.
            GradientCheck.check("max pool", [x], step: 1e-3, tolerance: 1e-2) { $0[0].maxPool2d(window) }
            GradientCheck.check("average pool", [x]) { $0[0].avgPool2d(window) }
            GradientCheck.check("average pool without padding", [x]) { $0[0].avgPool2d(window, countsPadding: false) }
        }
        GradientCheck.check("adaptive pool", [x]) { $0[0].adaptiveAvgPool2d(height: 3, width: 5) }
        GradientCheck.check("global pool", [x]) { $0[0].adaptiveAvgPool2d(height: 1, width: 1) }
        // Behind another gradient, to which the pool adds its own.
        GradientCheck.check("global pool beside its input", [x]) {
            $0[0] * $0[0].adaptiveAvgPool2d(height: 1, width: 1)
        }
    }

    @Test mutating func norms() {
        let x = random(3, 4, 5, 6)
        let (weight, bias) = (random(6) + 2, random(6))
        GradientCheck.check("batch norm", [x, weight, bias], tolerance: 5e-3) {
            $0[0].batchNorm(weight: $0[1], bias: $0[2], eps: 1e-5) { _ in }
        }
        let (mean, variance) = (random(6), random(6).squared() + 0.5)
        GradientCheck.check("batch norm in inference", [x, weight, bias]) {
            $0[0].batchNorm(weight: $0[1], bias: $0[2], mean: mean, variance: variance, eps: 1e-5)
        }
        GradientCheck.check("layer norm", [x, weight, bias], tolerance: 5e-3) {
            $0[0].layerNorm(weight: $0[1], bias: $0[2], eps: 1e-6)
        }
    }

    /// A batch norm and the activation behind it have one way back: it gives what theirs one after the other give, also
    /// where what is between them is needed elsewhere.
    @Test(arguments: Activation.allCases) mutating func batchNormAndActivation(activation: Activation) {
        let (x, weight, bias, gradient) = (random(3, 4, 5, 19) * 2, random(19) * 3, random(19), random(3, 4, 5, 19))
        func gradients(_ function: (Tensor) -> Tensor, _ gradient: Tensor) -> [[Float]] {
            var results = [Tensor?](repeating: nil, count: 3)
            let leaves = [x, weight, bias].enumerated().map { index, leaf in leaf.watched { results[index] = $0 } }
            function(leaves[0].batchNorm(weight: leaves[1], bias: leaves[2], eps: 1e-5) { _ in }).backward(
                gradient: gradient)
            return results.map { $0?.scalars ?? [] }
        }
        let between = x.batchNorm(weight: weight, bias: bias, eps: 1e-5) { _ in }
        for share: Float in [0, 0.5] {
            var inner: Tensor?
            let leaf = between.watched { inner = $0 }
            (leaf.activated(activation) + leaf * share).backward(gradient: gradient)
            let expected = gradients({ $0 * 1 }, inner!)
            let actual = gradients(
                { share == 0 ? $0.activated(activation) : $0.activated(activation) + $0 * share }, gradient)
            for (a, b) in zip(actual, expected) {
                #expect(a.count == b.count)
                let scale = b.map(abs).max() ?? 0
                #expect(zip(a, b).allSatisfy { abs($0 - $1) <= 1e-5 * scale }, "\(activation), share \(share)")
            }
        }
    }

    /// As one operation, the two give the same again.
    @Test(arguments: Activation.allCases) mutating func batchNormWithItsActivation(activation: Activation) {
        let (x, weight, bias, gradient) = (random(3, 4, 5, 19) * 2, random(19) * 3, random(19), random(3, 4, 5, 19))
        func results(_ isOne: Bool) -> [[Float]] {
            var gradients = [Tensor?](repeating: nil, count: 3)
            let leaves = [x, weight, bias].enumerated().map { index, leaf in leaf.watched { gradients[index] = $0 } }
            let y =
                isOne
                ? leaves[0].batchNorm(weight: leaves[1], bias: leaves[2], eps: 1e-5, activation: activation) { _ in }
                : leaves[0].batchNorm(weight: leaves[1], bias: leaves[2], eps: 1e-5) { _ in }.activated(activation)
            y.backward(gradient: gradient)
            return [y.scalars] + gradients.map { $0?.scalars ?? [] }
        }
        #expect(results(true) == results(false))
    }

    /// Gradients that meet are added in place, but never where somebody else sees it.
    @Test func gradientsThatMeetLeaveTheGivenOneAlone() {
        let x = Tensor([1, 2, 3], shape: [3]), given = Tensor([1, 1, 1], shape: [3])
        var (first, second): (Tensor?, Tensor?)
        let (a, b) = (x.watched { first = $0 }, x.watched { second = $0 })
        // `a` gets the given gradient itself and then another one; `b` the given one alone.
        (a + b + a * 3).backward(gradient: given)
        #expect(first?.scalars == [4, 4, 4])
        #expect(second?.scalars == [1, 1, 1])
        #expect(given.scalars == [1, 1, 1])
    }

    @Test mutating func aTensorThatIsUsedTwiceGetsBothGradients() {
        GradientCheck.check("residual", [random(3, 4)]) { $0[0].squared() + $0[0] * 3 }
    }
}
