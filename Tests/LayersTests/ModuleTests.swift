import Layers
import Tensors
import Testing

private final class Branch: Module {
    @Child var first: Module
    @Child var second: Module?
    let scale: Parameter
    let offset: Buffer
    let count = IntegerBuffer(key: "steps", [0], shape: [])
    /// A plain property: no state.
    let factor: Float = 2

    init(second: Module? = nil) {
        first = Linear(3, 4)
        self.second = second
        scale = Parameter(shape: [4], initializer: .ones)
        offset = Buffer(key: "running_offset", .zeros([4]))
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let y = first(x) * scale.value + offset.value
        return second?(y) ?? y
    }
}

@Suite struct ModuleTests {
    @Test func stateComesInPyTorchsOrder() {
        let module = Branch(second: Sequential(Linear(4, 2, bias: false), Identity()))
        #expect(
            module.stateDict().keys == [
                "scale", "running_offset", "steps", "first.weight", "first.bias", "second.0.weight",
            ])
        #expect(module.namedParameters().map(\.key) == ["scale", "first.weight", "first.bias", "second.0.weight"])
        #expect(module.parameterCount == 4 + 12 + 4 + 8)
    }

    /// A norm and the activation behind it run as one operation in training.
    @Test func aSequenceGivesWhatItsModulesGive() {
        let x = Tensor((0..<60).map { Float($0 * 7 % 13) - 6 }, shape: [3, 2, 2, 5])
        let one = Sequential(BatchNorm2d(5), Hardswish(), BatchNorm2d(5)), each = [BatchNorm2d(5), BatchNorm2d(5)]
        #expect(one(x).scalars == each[1](each[0](x).activated(.hardswish)).scalars)
        for (index, norm) in [0, 2].enumerated() {
            let state = (one[norm] as? BatchNorm2d)?.runningMean.value.scalars
            #expect(state == each[index].runningMean.value.scalars)
        }
    }

    @Test func modulesAreFoundAndReplacedByPath() throws {
        let root = Sequential(Branch(second: Sequential(ReLU())), Linear(4, 5))
        #expect(try root.module(at: ["0", "second", "0"]) is ReLU)
        #expect(try root.module(at: []) === root)
        try root.setModule(at: ["0", "second", "0"], to: Identity())
        let x = Tensor([-1, 2, 0.5], shape: [1, 3])
        try root.setModule(at: ["1"], to: Identity())
        let first = try root.module(at: ["0", "first"])
        #expect(root(x).scalars == first(x).scalars)
    }

    @Test func wrongPathsSayWhatIsThere() {
        let root = Sequential(Branch(), Linear(4, 5))
        #expect(
            throws: ModulePathError.noChild(named: "third", at: ["0"], type: "Branch", children: ["first"])
        ) { try root.module(at: ["0", "third"]) }
        #expect(throws: ModulePathError.emptyPath) { try root.setModule(at: [], to: Identity()) }
        #expect(throws: ModulePathError.self) { try root.setModule(at: ["2"], to: Identity()) }
    }

    @Test func anEmptyPlaceCanBeFilled() throws {
        let branch = Branch()
        try branch.setModule(at: ["second"], to: ReLU())
        #expect(branch.namedChildren.map(\.name) == ["first", "second"])
    }

    @Test func loadingIsAllOrNothing() throws {
        let module = Branch()
        let weights = { try module.first.stateDict()["weight"]!.tensor().scalars }
        let before = try weights()
        var state = Branch().stateDict()
        state["first.bias"] = StateDict.Entry(.zeros([5]))
        state["extra"] = StateDict.Entry(.zeros([1]))
        state["scale"] = nil
        let error = #expect(throws: StateDictError.self) { try module.load(stateDict: state) }
        #expect(error?.missing == ["scale"])
        #expect(error?.unexpected == ["extra"])
        #expect(error?.misshaped.map(\.key) == ["first.bias"])
        #expect(try weights() == before)
    }

    @Test func anErrorNamesTheFirstOfManyKeys() throws {
        let module = Branch()
        var state = module.stateDict()
        for index in 0..<13 { state["extra.\(index)"] = StateDict.Entry(.zeros([1])) }
        state["first.bias"] = StateDict.Entry(.zeros([5]))
        let error = #expect(throws: StateDictError.self) { try module.load(stateDict: state) }
        #expect(error?.unexpected.count == 13)
        let expected = module.stateDict()["first.bias"]!.shape
        #expect(
            "\(error!)" == "the weights do not fit the model: unexpected keys: "
                + (0..<10).map { "extra.\($0)" }.joined(separator: ", ")
                + " and 3 more; wrong shapes: first.bias is [5], expected \(expected)")
    }

    @Test func aFileThatFailsInTheMiddleChangesNothing() throws {
        struct Broken: Error {}
        let module = Branch()
        let before = try module.stateDict()["scale"]!.tensor().scalars
        var state = module.stateDict()
        state["scale"] = StateDict.Entry(.zeros([4]))
        state["first.weight"] = StateDict.Entry(shape: [4, 3]) { _ in throw Broken() }
        #expect(throws: Broken.self) { try module.load(stateDict: state) }
        #expect(try module.stateDict()["scale"]!.tensor().scalars == before)
    }

    @Test func looseLoadingReportsWhatItLeft() throws {
        var state = StateDict()
        state["scale"] = StateDict.Entry(Tensor([1, 2, 3, 4], shape: [4]))
        state["other"] = StateDict.Entry(.zeros([1]))
        let module = Branch()
        let (missing, unexpected) = try module.load(stateDict: state, strict: false)
        #expect(unexpected == ["other"])
        #expect(missing == ["running_offset", "steps", "first.weight", "first.bias"])
        #expect(module.scale.data.scalars == [1, 2, 3, 4])
    }

    @Test func convolutionWeightsKeepPyTorchsOrderInStateDicts() throws {
        let convolution = Conv2d(2, 3, kernelSize: IntPair(1, 2), bias: false)
        var state = StateDict()
        state["weight"] = StateDict.Entry(Tensor((0..<12).map(Float.init), shape: [3, 2, 1, 2]))
        try convolution.load(stateDict: state)
        #expect(convolution.weight.data.scalars == [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11])
        #expect(try convolution.stateDict()["weight"]!.tensor().scalars == (0..<12).map(Float.init))
    }

    @Test func freezingStopsGradients() {
        let module = Branch()
        module.first.freeze()
        module(Tensor.ones([2, 3])).sum().backward()
        #expect(module.scale.gradient != nil)
        #expect(module.first.parameters().allSatisfy { $0.gradient == nil })
    }

    @Test func gradientsAddUpUntilTheyAreForgotten() {
        let linear = Linear(2, 1, bias: false)
        for _ in 0..<2 { linear(Tensor([3, 4], shape: [1, 2])).sum().backward() }
        #expect(linear.weight.gradient?.scalars == [6, 8])
        linear.zeroGradients()
        #expect(linear.weight.gradient == nil)
    }

    @Test func seedsReproduceInitialization() throws {
        func weights(_ seed: UInt64) -> [Float] { withRandomSeed(seed) { Linear(5, 3) }.weight.data.scalars }
        #expect(weights(1) == weights(1))
        #expect(weights(1) != weights(2))
    }

    @Test func modeReachesEveryModule() {
        let module = Sequential(Branch(second: Dropout()), BatchNorm2d(4))
        module.eval()
        #expect(module.modules.allSatisfy { !$0.isTraining })
        module.train()
        #expect(module.modules.allSatisfy { $0.isTraining })
    }

    @Test func printsAsPyTorchDoes() {
        let module = Sequential(Conv2d(3, 8, kernelSize: 3, stride: 2, padding: 1, bias: false), Branch())
        #expect(
            "\(module)" == """
                Sequential(
                  (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
                  (1): Branch(
                    (first): Linear(in_features=3, out_features=4, bias=True)
                  )
                )
                """)
    }

    @Test func summaryCountsMultiplyAdds() {
        let module = Sequential(
            Conv2d(3, 8, kernelSize: 3, stride: 2, padding: 1), BatchNorm2d(8), AdaptiveAvgPool2d(1), Flatten(),
            Linear(8, 5))
        let summary = ModuleSummary(of: module, inputShape: [2, 9, 7, 3])
        #expect(summary.total.outputShape == [2, 5])
        #expect(summary.total.multiplyAdds == 2 * (5 * 4 * 8 * 27 + 8 * 5))
        #expect(summary.rows[1].outputShape == [2, 5, 4, 8])
        #expect(summary.total.parameters == 8 * 27 + 8 + 16 + 45)
    }

    @Test func batchNormUsesUnbiasedVarianceForTheRunningOne() {
        let norm = BatchNorm2d(1, momentum: 0.5)
        _ = norm(Tensor([1, 2, 3, 6], shape: [4, 1, 1, 1]))
        #expect(norm.runningMean.value.scalars == [1.5])
        #expect(abs(norm.runningVariance.value.scalar - (0.5 + 0.5 * 14 / 3)) < 1e-6)
        #expect(norm.batchesTracked.values == [1])
    }
}
