import Foundation
import Layers
import Tensors
import Testing

@Suite(.serialized) struct PlanTests {
    /// The kernels of the model's plan, with what is merged into them; and that the plan computes what the model does.
    private func steps(_ model: Module, _ shape: [Int], sourceLocation: SourceLocation = #_sourceLocation) -> [String] {
        for batch in [1, 3, 4] {
            let x = images([batch] + shape)
            let (planned, expected) = GradientMode.disabled { (model(x), Engine.withoutPlans { model(x) }) }
            #expect(planned.shape == expected.shape, sourceLocation: sourceLocation)
            let scale = expected.scalars.reduce(0) { max($0, abs($1)) }
            for (a, b) in zip(planned.scalars, expected.scalars) where !(abs(a - b) <= 1e-4 * scale) {
                Issue.record("batch \(batch): \(a) in the plan, \(b) without", sourceLocation: sourceLocation)
                break
            }
        }
        let summary = model.planSummary(imageShape: shape)
        return summary.map { $0.rows.map { "\($0.kernel) \($0.detail)" } } ?? []
    }

    // MARK: Passes

    @Test func normsAndActivationsGoIntoTheProductBefore() {
        let model = Model([
            Conv2d(3, 24, kernelSize: 3, stride: 2, padding: 1, bias: false), BatchNorm2d(24), ReLU(),
        ]) { x, m in m[2](m[1](m[0](x))) }
        #expect(steps(model, [17, 13, 3]) == ["packed 3x3 s2 +bias relu"])
    }

    @Test func residualsGoIntoTheProductBefore() {
        let model = Model([
            Conv2d(16, 16, kernelSize: 3, padding: 1), Conv2d(16, 16, kernelSize: 1), ReLU(), SiLU(),
        ]) { x, m in m[2](x + m[0](m[1](x))) }
        #expect(steps(model, [9, 9, 16]) == ["packed 1x1 +bias", "winograd 3x3 +bias +residual relu"])
        let behind = Model([Conv2d(16, 16, kernelSize: 1), SiLU()]) { x, m in m[1](m[0](x)) + x }
        #expect(steps(behind, [9, 9, 16]) == ["packed 1x1 +bias silu +residual"])
    }

    @Test func normsBeforeAProductGoIntoIt() {
        let affine = Model([BatchNorm2d(20), ReLU(), Conv2d(20, 8, kernelSize: 1)]) { x, m in m[2](m[1](m[0](x))) }
        #expect(steps(affine, [5, 6, 20]) == ["packed 1x1 affine_relu> +bias"])
        let folded = Model([BatchNorm2d(20), Conv2d(20, 8, kernelSize: 1)]) { x, m in m[1](m[0](x)) }
        #expect(steps(folded, [5, 6, 20]) == ["packed 1x1 +bias"])
        let layer = Model([LayerNorm(20), Linear(20, 8), GELU()]) { x, m in m[2](m[1](m[0](x))) }
        #expect(steps(layer, [7, 20]) == ["packed 1x1 layer_norm> +bias gelu"])
        // Zeros around the image are no zeros before the norm.
        let padded = Model([BatchNorm2d(20), Conv2d(20, 8, kernelSize: 5, padding: 2)]) { x, m in m[1](m[0](x)) }
        #expect(steps(padded, [5, 6, 20]) == ["affine ", "packed 5x5 +bias"])
    }

    @Test func theNormalizationOfImagesGoesIntoTheFirstLayer() {
        let (scale, shift) = (Tensor([0.4, 2, -0.5], shape: [3]), Tensor([0.3, -1, 0.7], shape: [3]))
        let bare = Model([Conv2d(3, 8, kernelSize: 3, stride: 2)]) { x, m in m[0](x * scale + shift) }
        #expect(steps(bare, [9, 11, 3]) == ["packed 3x3 s2 +bias"])
        let padded = Model([Conv2d(3, 8, kernelSize: 7, stride: 2, padding: 3), BatchNorm2d(8), ReLU()]) { x, m in
            m[2](m[1](m[0](x * scale + shift)))
        }
        #expect(steps(padded, [13, 16, 3]) == ["packed 7x7 s2 pad> +bias relu"])
        let factor = Model([Conv2d(3, 24, kernelSize: 3, padding: 1)]) { x, m in m[0](x * scale) }
        #expect(steps(factor, [9, 11, 3]) == ["packed 3x3 +bias"])
        // A channel that comes to nothing is no padding's image.
        let lost = Tensor([0.4, 0, -0.5], shape: [3])
        let blind = Model([Conv2d(3, 8, kernelSize: 3, padding: 1)]) { x, m in m[0](x * lost + shift) }
        #expect(steps(blind, [9, 11, 3]) == ["affine ", "packed 3x3 +bias"])
    }

    @Test func factorsPerChannelGoIntoTheProductBefore() {
        let scale = Tensor((0..<12).map { Float($0) * 0.25 }, shape: [12])
        let model = Model([Linear(10, 12)]) { x, m in x.sliced(axis: -1, 0..<1) + m[0](x) * scale }
        #expect(steps(model, [7, 10]).first == "packed 1x1 +bias")
    }

    @Test func squeezeAndExcitationTakesSumsFromTheDepthwiseProduct() {
        let model = Model([
            Conv2d(24, 24, kernelSize: 3, padding: 1, groups: 24), SiLU(), AdaptiveAvgPool2d(1),
            Conv2d(24, 6, kernelSize: 1), ReLU(), Conv2d(6, 24, kernelSize: 1), Sigmoid(),
            Conv2d(24, 16, kernelSize: 1),
        ]) { x, m in
            let y = m[1](m[0](x))
            return m[7](y * m[6](m[5](m[4](m[3](m[2](y))))))
        }
        #expect(
            steps(model, [11, 9, 24]) == [
                "depthwise 3x3 +bias silu", "mean_of_sums ", "packed 1x1 +bias relu", "packed 1x1 +bias sigmoid",
                "packed 1x1 scale> +bias",
            ])
    }

    @Test func partsOfAConcatenationAreWrittenInPlace() {
        let model = Model([
            Conv2d(8, 12, kernelSize: 1), Conv2d(8, 5, kernelSize: 3, padding: 1),
            MaxPool2d(kernelSize: 3, stride: 1, padding: 1), Conv2d(25, 7, kernelSize: 1), Conv2d(7, 9, kernelSize: 1),
        ]) { x, m in
            let inner = Tensor.concatenated([m[0](x), m[1](x), m[2](x)], axis: -1)
            // Nested, as in dense blocks, and read in part.
            let outer = Tensor.concatenated([inner, m[3](inner)], axis: -1)
            return Tensor.concatenated([m[4](outer.sliced(axis: -1, 25..<32)), outer], axis: -1)
        }
        let kernels = steps(model, [6, 7, 8]).map { $0.split(separator: " ")[0] }
        #expect(kernels == ["packed", "packed", "max_pool2d", "packed", "packed"])
    }

    @Test func sumsTakeTheResidualsPlaceWhereNobodyReadsItAnyMore() {
        // All of one size, so that any of them fits where another was.
        let layers = [(8, 16), (16, 16), (16, 16), (16, 16), (16, 16), (16, 16), (16, 5), (32, 16)]
        func model(_ body: @escaping (Tensor, [Module]) -> Tensor) -> Model {
            Model(layers.map { Conv2d($0, $1, kernelSize: 3, padding: 1) }, body)
        }
        func places(_ model: Model) -> [String] {
            _ = steps(model, [6, 7, 8])
            return model.planSummary(imageShape: [6, 7, 8])!.rows.map(\.place)
        }
        let inTurn = places(
            model { x, m in
                let y = m[0](x), z = m[2](m[1](y)) + y
                return m[6](m[5](m[4](z)) + z)
            })
        #expect(inTurn[0] == inTurn[2] && inTurn[2] == inTurn[4])
        let readLater = places(
            model { x, m in
                let y = m[0](x), z = m[2](m[1](y)) + y
                return m[6](m[5](m[4](z)) + y)
            })
        #expect(readLater[0] != readLater[2] && readLater[0] == readLater[4])
        let ownInput = places(
            model { x, m in
                let y = m[0](x)
                return m[6](m[3](y) + y)
            })
        #expect(ownInput[0] != ownInput[1])
        let partOfAnother = places(
            model { x, m in
                let y = m[0](x)
                let whole = Tensor.concatenated([m[2](m[1](y)) + y, m[3](y)], axis: -1)
                return m[6](whole.sliced(axis: -1, 0..<16)) + m[6](whole.sliced(axis: -1, 16..<32))
            })
        #expect(partOfAnother[0] != partOfAnother[2])
        // The sum is read with rows of another width, which a range of another value's channels does not have.
        let residualIsAPart = model { x, m in
            let (y, n) = (m[0](x), x.shape[0])
            let whole = Tensor.concatenated([y, m[3](y)], axis: -1)
            let z = m[5](m[7](whole)) + y
            return m[6](z.reshaped([n, 3, 7, 32]).sliced(axis: -1, 16..<32))
        }
        _ = steps(residualIsAPart, [6, 7, 8])
    }

    @Test func aPartOfTwoConcatenationsIsCopied() {
        let model = Model([Conv2d(8, 6, kernelSize: 1)]) { x, m in
            let y = m[0](x)
            return Tensor.concatenated([y, x, y], axis: -1) + Tensor.concatenated([x, y, y], axis: -1)
        }
        #expect(steps(model, [4, 5, 8]).count { $0.hasPrefix("copy") } >= 4)
    }

    @Test func shuffledHalvesAreWrittenInterleaved() {
        let model = Model([Conv2d(10, 10, kernelSize: 1), ReLU()]) { x, m in
            let (h, w) = (x.shape[1], x.shape[2])
            let both = Tensor.concatenated(
                [x.sliced(axis: -1, 0..<10), m[1](m[0](x.sliced(axis: -1, 10..<20)))], axis: -1)
            return both.reshaped([x.shape[0], h, w, 2, 10]).permuted([0, 1, 2, 4, 3]).reshaped([x.shape[0], h, w, 20])
        }
        #expect(steps(model, [3, 5, 20]) == ["packed 1x1 +bias shuffle relu"])
    }

    @Test func flatteningReordersTheWeights() {
        let model = Model([Conv2d(3, 6, kernelSize: 3, stride: 2), Linear(54, 4)]) { x, m in
            m[1](m[0](x).flattenedChannelsFirst())
        }
        #expect(steps(model, [7, 7, 3]) == ["packed 3x3 s2 +bias", "packed 1x1 +bias"])
    }

    @Test func gathersOfRowsGoIntoTheProductBehind() {
        let gather = RowGather([3, 1, RowGather.blank, 0, 2, 5], of: 6)
        let model = Model([LayerNorm(9), Linear(9, 5)]) { x, m in m[1](m[0](x).gatheringRows(gather)) }
        #expect(steps(model, [6, 9]) == ["packed 1x1 layer_norm> gather> +bias"])
    }

    @Test func gathersOfAProductsRowsGoIntoIt() {
        func kernels(_ sources: [Int]) -> [String] {
            let gather = RowGather(sources, of: 6)
            return steps(Model([Linear(9, 5)]) { x, m in m[0](x).gatheringRows(gather) }, [6, 9])
        }
        #expect(kernels([3, 1, 0, 2, 5, 4]) == ["packed 1x1 >scatter +bias"])
        #expect(kernels([4, 2, 0]) == ["packed 1x1 >scatter +bias"])
        // Rows that are blank, or come twice, no product writes.
        #expect(kernels([3, RowGather.blank, 0]) == ["packed 1x1 +bias", "gather_rows "])
        #expect(kernels([3, 1, 3]) == ["packed 1x1 +bias", "gather_rows "])
    }

    @Test func operationsThatChangeNothingVanish() {
        let model = Model([Conv2d(3, 4, kernelSize: 1), Dropout(), Identity(), AdaptiveAvgPool2d(5)]) { x, m in
            m[3](m[2](m[1](m[0](x)))).reshaped([x.shape[0], 5, 5, 4])
        }
        #expect(steps(model, [5, 5, 3]) == ["packed 1x1 +bias"])
    }

    @Test func constantsPerChannelGoIntoTheProductBefore() {
        let values = Tensor((0..<12).map { 0.5 + Float($0) * 0.25 }, shape: [12])
        let model = Model([Linear(10, 12), ReLU()]) { x, m in m[1]((m[0](x) - values) * values + values) }
        #expect(steps(model, [7, 10]) == ["packed 1x1 +bias relu"])
        // Behind the activation they must not.
        let behind = Model([Linear(10, 12), ReLU()]) { x, m in m[1](m[0](x)) - values }
        #expect(steps(behind, [7, 10]) == ["packed 1x1 +bias relu", "affine "])
    }

    @Test func valuesThatOthersReadAreNotMerged() {
        let activation = Model([Linear(10, 12), ReLU()]) { x, m in
            let y = m[0](x)
            return m[1](y) + y
        }
        #expect(steps(activation, [7, 10]).first == "packed 1x1 +bias")
        let norm = Model([LayerNorm(10), Linear(10, 10)]) { x, m in
            let y = m[0](x)
            return m[1](y) + y
        }
        #expect(steps(norm, [7, 10]).last == "packed 1x1 +bias +residual")
        let affine = Model([BatchNorm2d(10), Conv2d(10, 10, kernelSize: 1)]) { x, m in
            let y = m[0](x)
            return m[1](y) + y
        }
        #expect(steps(affine, [4, 3, 10]) == ["affine ", "packed 1x1 +bias +residual"])
    }

    @Test func rowsThatNobodyReadsAreNotComputed() {
        let model = Model([Linear(8, 30), GELU(), Linear(30, 8), LayerNorm(8)]) { x, m in
            m[3](x + m[2](m[1](m[0](x)))).sliced(axis: 1, 0..<1).reshaped([x.shape[0], 8])
        }
        _ = steps(model, [50, 8])
        #expect(model.planSummary(imageShape: [50, 8])!.rows.reduce(0) { $0 + $1.multiplyAdds } == 2 * 8 * 30)
    }

    @Test func operationsWithoutAKernelRunAsTheyAre() {
        let model = Model([Linear(6, 6)]) { x, m in (m[0](x).exp().softmax() * x).permuted([0, 2, 1]).sum(axes: 1) }
        #expect(!steps(model, [5, 6]).isEmpty)
    }

    // MARK: When there is a plan

    @Test func modelsThatMixImagesRunWithoutPlans() {
        let overBatch = Model([Linear(4, 4)]) { x, m in m[0](x) - x.mean(axes: 0, keepingAxes: true) }
        #expect(steps(overBatch, [4]).isEmpty)
        let bySize = Model([Linear(4, 4)]) { x, m in m[0](x) * (1 / Float(x.shape[0])) }
        #expect(steps(bySize, [4]).isEmpty)
        let swapped = Model([Linear(4, 4)]) { x, m in m[0](x.permuted([1, 0, 2])).permuted([1, 0, 2]).softmax() }
        #expect(steps(swapped, [3, 4]).isEmpty)
    }

    @Test func changesAreNoticed() throws {
        let model = Sequential(Conv2d(3, 8, kernelSize: 1), BatchNorm2d(8), ReLU())
        model.eval()
        let x = images([2, 5, 5, 3])
        func check(_ what: Comment) {
            let (planned, expected) = GradientMode.disabled { (model(x), Engine.withoutPlans { model(x) }) }
            let worst = zip(planned.scalars, expected.scalars).reduce(0) { max($0, abs($1.0 - $1.1)) }
            #expect(worst < 1e-5, what)
        }
        check("at first")
        let convolution = model[0] as! Conv2d
        convolution.weight.data = convolution.weight.data * 2
        check("a parameter")
        (model[1] as! BatchNorm2d).runningMean.value = .ones([8])
        check("a buffer")
        try model.setModule(at: ["2"], to: SiLU())
        check("a module")
        // It came in training mode: without it, there is a plan again.
        #expect(model.planSummary(imageShape: [5, 5, 3]) == nil)
        model.eval()
        convolution.weight.initialize(.constant(0.25))
        check("an initialization")
        let before = model.planSummary(imageShape: [5, 5, 3])
        model.train()
        #expect(before != nil && model.planSummary(imageShape: [5, 5, 3]) == nil)
        model.eval()
        check("the mode")
    }

    @Test func aModulesOwnPropertyIsNoticedWhereItSaysSo() {
        final class Scaled: Module {
            @Child var linear: Module = Linear(3, 3)
            var scale: Float = 1 {
                didSet { invalidatePlans() }
            }
            override func forward(_ x: Tensor) -> Tensor { linear(x) * scale }
        }
        let model = Scaled()
        model.eval()
        let before = model(images([2, 3])).scalars
        model.scale = 2
        #expect(model(images([2, 3])).scalars == before.map { 2 * $0 })
    }

    @Test func gradientsInEvaluationModeAreThoseOfTheModel() {
        let model = Sequential(Linear(6, 5), GELU(), Linear(5, 2))
        model.eval()
        let x = images([3, 6])
        func gradients(_ output: Tensor) -> [[Float]] {
            model.zeroGradients()
            output.sum().backward()
            return model.parameters().map { $0.gradient?.scalars ?? [] }
        }
        let planned = model(x)
        #expect(planned.requiresGradient)
        #expect(gradients(planned) == gradients(Engine.withoutPlans { model(x) }))
        #expect(!GradientMode.disabled { model(x) }.requiresGradient)
        model.freeze()
        #expect(!model(x).requiresGradient)
    }

    @Test func resultsAreTheSameEveryTimeAndFromEveryThread() async {
        let model = Sequential(
            Conv2d(3, 32, kernelSize: 3, padding: 1), ReLU(), Conv2d(32, 32, kernelSize: 3, padding: 1, groups: 32),
            Conv2d(32, 16, kernelSize: 1))
        model.eval()
        let x = images([5, 24, 24, 3])
        let expected = GradientMode.disabled { model(x) }.scalars
        struct Shared: @unchecked Sendable { let model: Module }
        let shared = Shared(model: model)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    (0..<20).allSatisfy { _ in
                        let result = GradientMode.disabled { shared.model(x) }.scalars
                        if result == expected { return true }
                        // The pool's own tests may be changing the number of threads beside this one, and with it the
                        // last bits.
                        return ProcessInfo.processInfo.environment["RECOGNITE_STRICT"] == nil
                            && zip(result, expected).allSatisfy { abs($0 - $1) < 1e-5 }
                    }
                }
            }
            for await same in group { #expect(same) }
        }
    }

    /// A Linear of a million weights runs on groups of images, for which kernels need more scratch memory than for one row, and
    /// in large ones perhaps another layout of the weights.
    @Test func linearsOfManyWeightsRunOnGroups() {
        let model = Sequential(Linear(1100, 1000), ReLU(), Linear(1000, 40))
        model.eval()
        for batch in [1, 2, 7, 300, 900, 7, 1000] {
            let x = images([batch, 1100])
            let (a, b) = GradientMode.disabled { (model(x), Engine.withoutPlans { model(x) }) }
            #expect(zip(a.scalars, b.scalars).allSatisfy { abs($0 - $1) < 1e-4 }, "batch \(batch)")
        }
    }

    /// A layer for which AMX is better on one thread and vectors are on two: its weights are packed a second time when the
    /// first batches come, here from several tasks at once.
    @Test func imagesOnAThreadEachMayNeedAnotherLayout() async {
        let model = Sequential(Conv2d(16, 1024, kernelSize: 1), ReLU(), Conv2d(1024, 256, kernelSize: 1))
        model.eval()
        let x = images([5, 14, 14, 16])
        let expected = GradientMode.disabled { Engine.withoutPlans { model(x) } }.scalars
        struct Shared: @unchecked Sendable { let model: Module, x: Tensor }
        let shared = Shared(model: model, x: x)
        await withTaskGroup(of: Bool.self) { group in
            for batch in [5, 1, 2, 4] {
                group.addTask {
                    (0..<3).allSatisfy { _ in
                        let result = GradientMode.disabled { shared.model(shared.x.sliced(axis: 0, 0..<batch)) }
                        return zip(result.scalars, expected).allSatisfy { abs($0 - $1) < 1e-4 }
                    }
                }
            }
            for await right in group { #expect(right) }
        }
    }

    /// Another thread may change the number of threads while a plan runs.
    @Test func theNumberOfThreadsMayChangeWhileAPlanRuns() async {
        let model = Sequential(
            Conv2d(3, 64, kernelSize: 3, padding: 1), ReLU(), Conv2d(64, 64, kernelSize: 3, padding: 1),
            Conv2d(64, 64, kernelSize: 3, padding: 1, groups: 64))
        model.eval()
        let x = images([3, 40, 40, 3])
        let expected = GradientMode.disabled { Engine.withoutPlans { model(x) } }.scalars
        struct Shared: @unchecked Sendable { let model: Module }
        let shared = Shared(model: model)
        defer { Engine.setThreads(0) }
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for round in 0..<200 { Engine.setThreads(1 + round % 9) }
                return true
            }
            for _ in 0..<2 {
                group.addTask {
                    (0..<60).allSatisfy { _ in
                        let result = GradientMode.disabled { shared.model(x) }.scalars
                        return zip(result, expected).allSatisfy { abs($0 - $1) < 1e-4 }
                    }
                }
            }
            for await right in group { #expect(right) }
        }
    }

    @Test func plansAreBoundedInNumber() {
        let model = Sequential(Conv2d(3, 4, kernelSize: 1), ReLU())
        model.eval()
        for size in 1...40 {
            let x = images([1 + size % 3, size, 4, 3], seed: UInt64(size))
            let (a, b) = GradientMode.disabled { (model(x), Engine.withoutPlans { model(x) }) }
            #expect(zip(a.scalars, b.scalars).allSatisfy { abs($0 - $1) < 1e-5 })
        }
    }
}
