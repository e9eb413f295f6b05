import Foundation
import Layers
import Tensors
import Testing

@Suite struct MovingAverageTests {
    private func model() -> (Sequential, Linear, BatchNorm2d) {
        let (linear, norm) = (Linear(2, 1, bias: false), BatchNorm2d(1))
        return (Sequential(linear, norm), linear, norm)
    }

    private func set(_ linear: Linear, _ a: Float, _ b: Float) { linear.weight.data = Tensor([a, b], shape: [1, 2]) }

    private func weights(_ average: ExponentialMovingAverage, _ linear: Linear) -> [Float] {
        average.withAverages { linear.weight.data.scalars }
    }

    @Test func averagesFollowByTheDecay() {
        let (model, linear, _) = model()
        set(linear, 1, -8)
        let average = ExponentialMovingAverage(of: model, decay: 0.75)
        #expect(weights(average, linear) == [1, -8])
        set(linear, 5, 8)
        average.update()
        #expect(weights(average, linear) == [2, -4])
        average.update()
        #expect(weights(average, linear) == [2.75, -1])
        // The model's own values are back, and were not touched.
        #expect(linear.weight.data.scalars == [5, 8])
        #expect(average.updates == 2)
    }

    /// timm's ModelEmaV3 with use_warmup: 1 - (1 + step) ** -(2 / 3), at most the decay.
    @Test func theDecayWarmsUp() {
        let (model, linear, _) = model()
        set(linear, 1, 1)
        let average = ExponentialMovingAverage(of: model, decay: 0.6, warmsUp: true)
        var decays: [Double] = []
        for _ in 0..<5 {
            decays.append(average.currentDecay)
            set(linear, 7, 9)
            average.update()
            if decays.count == 1 { #expect(weights(average, linear) == [7, 9]) }
        }
        for (got, expected) in zip(decays, [0, 0.3700394751, 0.5192501432, 0.6, 0.6]) {
            #expect(abs(got - expected) < 1e-9)
        }
    }

    @Test func buffersAreTheModelsLatest() {
        let (model, _, norm) = model()
        let average = ExponentialMovingAverage(of: model, decay: 0.9)
        norm.runningMean.value = Tensor([4], shape: [1])
        norm.batchesTracked.values = [3]
        average.update()
        norm.runningMean.value = Tensor([5], shape: [1])
        norm.batchesTracked.values = [4]
        average.withAverages {
            #expect(norm.runningMean.value.scalars == [4])
            #expect(norm.batchesTracked.values == [3])
        }
        #expect(norm.runningMean.value.scalars == [5])
        #expect(norm.batchesTracked.values == [4])
    }

    @Test func valuesComeBackAfterAnError() {
        struct Failure: Error {}
        let (model, linear, _) = model()
        set(linear, 1, 1)
        let average = ExponentialMovingAverage(of: model, decay: 0.5)
        set(linear, 3, 3)
        #expect(throws: Failure.self) {
            try average.withAverages {
                set(linear, 9, 9)
                throw Failure()
            }
        }
        #expect(linear.weight.data.scalars == [3, 3])
        #expect(weights(average, linear) == [1, 1])
    }

    @Test func optimizersDoNotReachTheAverages() {
        let (model, linear, _) = model()
        set(linear, 1, 2)
        let average = ExponentialMovingAverage(of: model, decay: 0.5)
        linear.weight.gradient = .ones([1, 2])
        SGD(parameterGroups(of: model, learningRate: 1)).step()
        #expect(linear.weight.data.scalars == [0, 1])
        #expect(weights(average, linear) == [1, 2])
    }

    @Test func savedAveragesGoOn() throws {
        let (model, linear, norm) = model()
        set(linear, 1, 2)
        let average = ExponentialMovingAverage(of: model, decay: 0.75, warmsUp: true)
        for step in 0..<3 {
            set(linear, Float(step), 5)
            norm.batchesTracked.values = [Int64(step)]
            average.update()
        }
        let state = average.stateDict()
        #expect(state.keys.first == "n_averaged")
        #expect(state.keys.dropFirst().map { String($0.dropFirst(7)) } == model.stateDict().keys)
        let (otherModel, otherLinear, otherNorm) = self.model()
        let other = ExponentialMovingAverage(of: otherModel, decay: 0.75, warmsUp: true)
        let own = otherLinear.weight.data.scalars
        try other.load(stateDict: state)
        #expect(otherLinear.weight.data.scalars == own)
        #expect(other.updates == 3 && other.currentDecay == average.currentDecay)
        #expect(weights(other, otherLinear) == weights(average, linear))
        other.withAverages { #expect(otherNorm.batchesTracked.values == [2]) }
        // The averages alone are weights of a model.
        try otherModel.load(stateDict: average.modelStateDict())
        #expect(otherLinear.weight.data.scalars == weights(average, linear))
    }

    @Test func statesThatDoNotFitAreRefused() throws {
        let (model, linear, _) = model()
        set(linear, 1, 2)
        let average = ExponentialMovingAverage(of: model, decay: 0.5)
        let good = average.stateDict()
        var bad = good
        bad["n_averaged"] = nil
        #expect(throws: StateDictError.self) { try average.load(stateDict: bad) }
        bad = good
        bad["other"] = StateDict.Entry(.zeros([1]))
        let error = #expect(throws: StateDictError.self) { try average.load(stateDict: bad) }
        #expect(error?.unexpected == ["other"])
        bad = good
        bad["module.0.weight"] = nil
        #expect(throws: StateDictError.self) { try average.load(stateDict: bad) }
        bad = good
        bad["n_averaged"] = StateDict.Entry(shape: []) { [-1] }
        #expect(throws: StepCountError.self) { try average.load(stateDict: bad) }
        #expect(weights(average, linear) == [1, 2])
    }
}
