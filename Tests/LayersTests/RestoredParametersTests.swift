import Layers
import Tensors
import Testing

/// Parameters whose memory a plan has freed because packed weights tell what they were.
@Suite struct RestoredParametersTests {
    private static func values(_ count: Int, seed: UInt64) -> [Float] {
        var source = RandomSource(seed: seed)
        return (0..<count).map { _ in Float(source.normal()) }
    }

    private static func images(_ shape: [Int]) -> Tensor {
        Tensor(values(shape.reduce(1, *), seed: 5), shape: shape)
    }

    /// 1 x 1, strided 3 x 3 and Winograd's convolutions with norms, and a Linear whose inputs lie in another order in memory.
    private static func model() -> Sequential {
        let model = withRandomSeed(1) {
            Sequential(
                Conv2d(64, 300, kernelSize: 1, bias: false), BatchNorm2d(300), ReLU(),
                Conv2d(300, 24, kernelSize: 3, stride: 2, padding: 1, bias: false), BatchNorm2d(24), ReLU(),
                Conv2d(24, 96, kernelSize: 3, padding: 1, bias: false), BatchNorm2d(96), ReLU(),
                Conv2d(96, 24, kernelSize: 3, padding: 1), AdaptiveAvgPool2d(6), Flatten(), Linear(24 * 36, 40))
        }
        for case let norm as BatchNorm2d in model.modules {
            let channels = norm.weight.count
            // All magnitudes, both signs.
            norm.weight.data = Tensor(values(channels, seed: 8).map { $0 * 3 }, shape: [channels])
            norm.runningVariance.value = Tensor(values(channels, seed: 9).map { $0 * $0 * 10 }, shape: [channels])
        }
        model.eval()
        return model
    }

    private static func weights(_ model: Module) -> [Parameter] { model.parameters().filter { $0.shape.count > 1 } }

    private static func bits(_ model: Module) -> [[UInt32]] {
        model.parameters().map { $0.data.scalars.map(\.bitPattern) }
    }

    private func expectBits(
        _ model: Module, _ expected: [[UInt32]], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        // Some tens of thousands of numbers, which nobody wants to see.
        let isSame = Self.bits(model) == expected
        #expect(isSame, sourceLocation: sourceLocation)
    }

    /// Which of the weights are in memory, without bringing them there.
    private static func resident(_ model: Module) -> [Bool] { weights(model).map(\.isResident) }

    private static func run(_ model: Module, _ x: Tensor) -> [Float] { GradientMode.disabled { model(x) }.scalars }

    @Test func parametersAreFreedAndComeBackToTheBit() {
        let model = Self.model(), expected = Self.bits(model), x = Self.images([2, 29, 29, 64])
        #expect(Self.resident(model) == [true, true, true, true, true])
        let first = Self.run(model, x)
        #expect(Self.resident(model) == [false, false, false, false, false])
        let isSame = Self.run(model, x) == first
        #expect(isSame)
        expectBits(model, expected)
        #expect(Self.resident(model) == [true, true, true, true, true])
        // Another size of images: the weights are packed as they were, and the parameters freed again.
        _ = Self.run(model, Self.images([1, 32, 31, 64]))
        #expect(Self.resident(model) == [false, false, false, false, false])
        expectBits(model, expected)
    }

    @Test func anotherSizeNeedsNoParameters() {
        let model = Self.model()
        _ = Self.run(model, Self.images([1, 29, 29, 64]))
        _ = Self.run(model, Self.images([1, 33, 28, 64]))
        #expect(Self.resident(model) == [false, false, false, false, false])
    }

    @Test func whatCannotBeComputedStays() {
        let model = Self.model(), convolution = model[0] as! Conv2d, norm = model[1] as! BatchNorm2d
        norm.weight.data = .zeros([300])
        let expected = Self.bits(model)
        _ = Self.run(model, Self.images([1, 29, 29, 64]))
        #expect(Self.resident(model) == [true, false, false, false, false])
        expectBits(model, expected)
        // A few channels without a factor, and zeros with a sign, are kept one by one.
        var factors = Self.values(300, seed: 10)
        factors[7] = 0
        norm.weight.data = Tensor(factors, shape: [300])
        var weights = convolution.weight.data.scalars
        for index in stride(from: 5, to: weights.count, by: 1000) { weights[index] = -0.0 }
        convolution.weight.data = Tensor(weights, shape: convolution.weight.shape)
        let changed = Self.bits(model)
        _ = Self.run(model, Self.images([1, 29, 29, 64]))
        #expect(Self.resident(model) == [false, false, false, false, false])
        expectBits(model, changed)
    }

    /// Weights and products of weights that the engine's arithmetic takes for 0.
    @Test func subnormalWeightsComeBack() {
        let model = Self.model()
        for parameter in Self.weights(model) {
            var weights = parameter.data.scalars
            for index in stride(from: 3, to: weights.count, by: 101) { weights[index] *= 1e-39 }
            for index in stride(from: 5, to: weights.count, by: 103) { weights[index] *= 2e-38 }
            parameter.data = Tensor(weights, shape: parameter.shape)
        }
        let expected = Self.bits(model)
        _ = Self.run(model, Self.images([1, 29, 29, 64]))
        #expect(Self.resident(model) == [false, false, false, false, false])
        expectBits(model, expected)
    }

    @Test func tensorsThatOthersHoldStay() {
        let model = Self.model(), held = Self.weights(model).map(\.data), expected = held.map(\.scalars)
        _ = Self.run(model, Self.images([1, 29, 29, 64]))
        let isSame = held.map(\.scalars) == expected
        #expect(isSame)
    }

    @Test func changesInPlaceAreNoticed() {
        let model = Self.model(), x = Self.images([2, 29, 29, 64])
        _ = Self.run(model, x)
        let weight = (model[0] as! Conv2d).weight
        weight.mutate { tensor in
            let pointer = tensor.uniquePointer()
            for index in 0..<tensor.count { pointer[index] *= -0.5 }
        }
        let expected = GradientMode.disabled { Engine.withoutPlans { model(x) } }.scalars
        let actual = Self.run(model, x), scale = expected.map(abs).max()!
        #expect(zip(actual, expected).allSatisfy { abs($0 - $1) <= 1e-4 * scale })
    }

    /// Up to rounding: gradients are added in an order that depends on the number of threads, which tests of the pool change
    /// meanwhile.
    @Test func trainingGoesOnAsWithoutInference() {
        func trained(between: (Module) -> Void) -> [[Float]] {
            let model = Self.model()
            let optimizer = SGD([
                ParameterGroup(name: "all", parameters: model.namedParameters(), learningRate: 1e-3)
            ])
            for _ in 0..<2 {
                between(model)
                model.train()
                model(Self.images([2, 29, 29, 64])).sum().backward()
                optimizer.step()
                model.zeroGradients()
            }
            return Self.weights(model).map(\.data.scalars)
        }
        let expected = trained { _ in }
        let actual = trained { model in
            model.eval()
            _ = Self.run(model, Self.images([1, 29, 29, 64]))
            #expect(Self.resident(model) == [false, false, false, false, false])
        }
        for (actual, expected) in zip(actual, expected) {
            let scale = expected.map(abs).max()!
            let isClose = zip(actual, expected).allSatisfy { abs($0 - $1) <= 1e-5 * scale }
            #expect(isClose)
        }
    }

    @Test func threadsMayReadWhileOthersRun() async {
        struct Shared: @unchecked Sendable { let model: Module }
        let shared = Shared(model: Self.model()), expected = Self.bits(shared.model)
        await withTaskGroup(of: Bool.self) { group in
            for task in 0..<4 {
                group.addTask {
                    (0..<12).allSatisfy { round in
                        if task % 2 == 0 { return Self.bits(shared.model) == expected }
                        return Self.run(shared.model, Self.images([1, 24 + round, 24 + task, 64])).allSatisfy(
                            \.isFinite)
                    }
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }

    @Test func aNumberOfContentsMeansTheSameElements() {
        var tensor = Self.images([3, 4])
        let number = tensor.storage.contents, elements = tensor.scalars
        #expect(number != 0 && number != Self.images([3, 4]).storage.contents)
        let source = tensor
        let restored = Tensor(
            shape: [3, 4],
            storage: TensorStorage(replacing: tensor.storage) { $0.update(from: source.pointer, count: 12) })
        #expect(restored.storage.contents == number && !restored.storage.isResident)
        #expect(restored.scalars == elements && restored.storage.isResident)
        tensor.uniquePointer()[0] = 7
        #expect(tensor.storage.contents != number && source.storage.contents == number)
        let changed = tensor.storage.contents
        tensor.uniquePointer()[0] = 8
        #expect(tensor.storage.contents != changed)
    }
}
