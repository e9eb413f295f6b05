import Layers
import Tensors
import Testing

/// `((i * a + b) % 127 - 63) / 64`: the same in Python.
private func fill(_ count: Int, _ a: Int = 37, _ b: Int = 11) -> [Float] {
    (0..<count).map { Float(($0 * a + b) % 127 - 63) / 64 }
}

private func parameter(_ values: [Float], shape: [Int]? = nil, layout: StateLayout = .same) -> Parameter {
    let parameter = Parameter(shape: shape ?? [values.count], layout: layout, initializer: .zeros)
    parameter.data = Tensor(values, shape: parameter.shape)
    return parameter
}

private func group(_ parameters: [(key: String, parameter: Parameter)], rate: Double, decay: Double = 0)
    -> [ParameterGroup]
{ [ParameterGroup(name: "all", parameters: parameters, learningRate: rate, weightDecay: decay)] }

@Suite struct OptimizerTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let rate: Double
        let decay: Double
        /// Elements 0, 5, 17 and 36 of `w` after five steps, and all of `u`.
        let w: [Float]
        let u: [Float]
        /// The state of `u`.
        let state: [String: [Float]]
        let make: @Sendable ([ParameterGroup]) -> Optimizer
    }

    /// The numbers are torch's:
    ///
    ///     fill = lambda n, a=37, b=11: torch.tensor([((i * a + b) % 127 - 63) / 64 for i in range(n)])
    ///     w, u = Parameter(fill(37)), Parameter(fill(3, 29, 5)); opt = make([w, u])
    ///     for t in range(5):
    ///         w.grad, u.grad = fill(37, 53, 17 * t + 3) * (0.5 + t), None if t in (0, 2) else fill(3, 11, 13 * t + 1)
    ///         opt.step()
    static let cases = [
        Case(
            testDescription: "SGD", rate: 0.1, decay: 0.01, w: [-0.56699961, 0.12014208, -0.89437574, 0.33839282],
            u: [-0.77559793, -0.37534192, 0.024914106], state: [:]
        ) { SGD($0) },
        Case(
            testDescription: "momentum", rate: 0.1, decay: 0.01,
            w: [0.047050174, 0.51007992, -0.51601928, 0.88545966], u: [-0.61010647, -0.25586072, 0.098385043],
            state: ["momentum_buffer": [-1.1218663454055786, -0.644475519657135, -0.16708478331565857]]
        ) { SGD($0, momentum: 0.9) },
        Case(
            testDescription: "Nesterov", rate: 0.05, decay: 0.1,
            w: [-0.35040009, 0.22999468, -0.72402614, 0.47907874], u: [-0.70498735, -0.32931167, 0.046363983],
            state: ["momentum_buffer": [-1.134283185005188, -0.6104961633682251, -0.08670918643474579]]
        ) { SGD($0, momentum: 0.8, nesterov: true) },
        Case(
            testDescription: "Adam", rate: 0.01, decay: 0.1,
            w: [-0.76722586, 0.12977007, -0.86888397, 0.19866692], u: [-0.8782528, -0.427201, 0.019244451],
            state: [
                "step": [3], "exp_avg": [-0.13425984978675842, -0.07540757209062576, -0.016568580642342567],
                "exp_avg_sq": [0.0009930914966389537, 0.00046204091631807387, 0.00021363134146668017],
            ]
        ) { Adam($0) },
        Case(
            testDescription: "AdamW", rate: 0.01, decay: 0.1,
            w: [-0.76483589, 0.12772633, -0.86831224, 0.19703092], u: [-0.87659991, -0.42734405, 0.018116113],
            state: [
                "step": [3], "exp_avg": [-0.18675000965595245, -0.1028749942779541, -0.018999997526407242],
                "exp_avg_sq": [0.03380679339170456, 0.01759045384824276, 0.009800689294934273],
            ]
        ) { AdamW($0, betas: (0.8, 0.95), eps: 1e-6) },
    ]

    /// The parameters of the cases and their steps.
    private struct Run {
        let w = parameter(fill(37))
        let u = parameter(fill(3, 29, 5))
        var named: [(key: String, parameter: Parameter)] { [("w", w), ("u", u)] }

        func step(_ optimizer: Optimizer, _ steps: Range<Int>) {
            for t in steps {
                w.gradient = Tensor(fill(37, 53, 17 * t + 3), shape: [37]) * (0.5 + Float(t))
                u.gradient = t == 0 || t == 2 ? nil : Tensor(fill(3, 11, 13 * t + 1), shape: [3])
                optimizer.step()
            }
        }
    }

    private func expectClose(_ got: [Float], _ expected: [Float], _ what: String) {
        #expect(got.count == expected.count)
        for (a, b) in zip(got, expected) { #expect(abs(a - b) <= 1e-6, "\(what): \(got), expected \(expected)") }
    }

    @Test(arguments: cases) func stepsAreTorchs(test: Case) throws {
        let run = Run()
        let optimizer = test.make(group(run.named, rate: test.rate, decay: test.decay))
        run.step(optimizer, 0..<5)
        expectClose([0, 5, 17, 36].map { run.w.data.scalars[$0] }, test.w, "w")
        expectClose(run.u.data.scalars, test.u, "u")
        for (name, expected) in test.state {
            expectClose(try #require(optimizer.stateDict()["\(name).u"]).tensor().scalars, expected, name)
        }
    }

    @Test(arguments: cases) func aSavedStateGoesOnToTheSameBits(test: Case) throws {
        let (whole, resumed) = (Run(), Run())
        let groups = { group($0, rate: test.rate, decay: test.decay) }
        let optimizer = test.make(groups(whole.named))
        whole.step(optimizer, 0..<3)
        let state = optimizer.stateDict()
        resumed.w.data = whole.w.data
        resumed.u.data = whole.u.data
        whole.step(optimizer, 3..<5)
        let other = test.make(groups(resumed.named))
        try other.load(stateDict: state)
        resumed.step(other, 3..<5)
        #expect(whole.w.data.scalars == resumed.w.data.scalars)
        #expect(whole.u.data.scalars == resumed.u.data.scalars)
    }

    @Test func theSchedulesFactorIsPartOfTheRate() {
        let run = (Run(), Run())
        let optimizers = (SGD(group(run.0.named, rate: 0.2)), SGD(group(run.1.named, rate: 0.05)))
        optimizers.0.learningRateFactor = 0.25
        run.0.step(optimizers.0, 0..<3)
        run.1.step(optimizers.1, 0..<3)
        #expect(run.0.w.data.scalars == run.1.w.data.scalars)
    }

    @Test func parametersOfOthersKeepTheirValues() throws {
        let w = parameter(fill(37))
        let before = w.data, values = before.scalars
        let optimizer = SGD(group([("w", w)], rate: 0.1), momentum: 0.9)
        w.gradient = .ones([37])
        optimizer.step()
        #expect(before.scalars == values)
        #expect(w.data.scalars != values)
        // A saved state too is a value.
        let saved = optimizer.stateDict()
        let momentum = try saved["momentum_buffer.w"]!.tensor().scalars
        optimizer.step()
        #expect(try saved["momentum_buffer.w"]!.tensor().scalars == momentum)
        #expect(try optimizer.stateDict()["momentum_buffer.w"]!.tensor().scalars != momentum)
    }

    @Test func parametersThatNobodyElseHoldsChangeWhereTheyLie() {
        let w = parameter(fill(40_000))
        func address() -> UnsafePointer<Float> { w.data.withUnsafeScalars { $0.baseAddress! } }
        for optimizer in [SGD(group([("w", w)], rate: 0.1), momentum: 0.9), AdamW(group([("w", w)], rate: 0.1))] {
            let before = address(), values = w.data.scalars
            w.gradient = .ones([40_000])
            optimizer.step()
            #expect(address() == before)
            #expect(zip(w.data.scalars, values).allSatisfy { $0 < $1 })
        }
    }

    /// A plan that was made before a step must not be used after it.
    @Test func plansNoticeSteps() {
        let model = Sequential(Linear(3, 4), ReLU(), Linear(4, 2))
        let x = Tensor(fill(6), shape: [2, 3])
        model.eval()
        let before = GradientMode.disabled { model(x).scalars }
        model.train()
        model(x).sum().backward()
        SGD(parameterGroups(of: model, learningRate: 1)).step()
        model.eval()
        let after = GradientMode.disabled { model(x) }
        #expect(after.scalars != before)
        let eager = GradientMode.disabled { Engine.withoutPlans { model(x) } }
        for (a, b) in zip(after.scalars, eager.scalars) { #expect(abs(a - b) < 1e-5) }
    }

    @Test func stateComesInPyTorchsShapes() throws {
        let values = (0..<12).map(Float.init)
        let w = parameter(values, shape: [3, 1, 2, 2], layout: .convolution)
        let optimizer = SGD(group([("w", w)], rate: 0.1), momentum: 0.5)
        w.gradient = w.data
        optimizer.step()
        let entry = try #require(optimizer.stateDict()["momentum_buffer.w"])
        #expect(entry.shape == [3, 2, 1, 2])
        #expect(try entry.tensor().scalars == [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11])
    }

    @Test func statesThatDoNotFitAreRefusedWhole() throws {
        let run = Run()
        let optimizer = Adam(group(run.named, rate: 0.1))
        run.step(optimizer, 0..<2)
        let good = optimizer.stateDict()
        #expect(good.keys == ["w", "u"].flatMap { ["step.\($0)", "exp_avg.\($0)", "exp_avg_sq.\($0)"] })
        var bad = good
        bad["exp_avg.w"] = nil
        bad["exp_avg_sq.u"] = StateDict.Entry(.zeros([4]))
        bad["exp_avg.other"] = StateDict.Entry(.zeros([1]))
        let error = #expect(throws: StateDictError.self) { try optimizer.load(stateDict: bad) }
        #expect(error?.missing == ["exp_avg.w"])
        #expect(error?.unexpected == ["exp_avg.other"])
        #expect(error?.misshaped.map(\.key) == ["exp_avg_sq.u"])
        #expect("\(error!)".hasPrefix("the state does not fit the optimizer: missing keys: exp_avg.w;"))
        for steps in [Int64(0), -3, .max] {
            var wrong = good
            wrong["step.w"] = StateDict.Entry(shape: []) { [steps] }
            #expect(throws: StepCountError.self) { try optimizer.load(stateDict: wrong) }
        }
        let saved = try good["exp_avg.w"]!.tensor().scalars
        #expect(try optimizer.stateDict()["exp_avg.w"]!.tensor().scalars == saved)
    }

    @Test func severalBackwardPassesAccumulate() {
        let (once, twice) = (Linear(3, 2, bias: false), Linear(3, 2, bias: false))
        twice.weight.data = once.weight.data
        let x = Tensor(fill(12), shape: [4, 3])
        once(x).squared().sum().backward()
        for half in [0..<2, 2..<4] { twice(x.sliced(axis: 0, half)).squared().sum().backward() }
        let gradients = [once, twice].map { $0.weight.gradient!.scalars }
        for (a, b) in zip(gradients[0], gradients[1]) { #expect(abs(a - b) < 1e-5) }
        #expect(gradients[0].contains { abs($0) > 0.1 })
    }
}

@Suite struct GradientClippingTests {
    /// torch.nn.utils.clip_grad_norm_([w, u], 1.5) with w.grad = fill(37, 53, 3), u.grad = fill(3, 11, 1).
    @Test func theNormIsOfAllGradientsTogether() {
        let (w, u, none) = (parameter(fill(37)), parameter(fill(3)), parameter(fill(2)))
        w.gradient = Tensor(fill(37, 53, 3), shape: [37])
        u.gradient = Tensor(fill(3, 11, 1), shape: [3])
        let norm = clipGradientNorm([w, none, u], maximum: 1.5)
        #expect(abs(norm - 3.8126280307769775) < 1e-6)
        let expected: [Float] = [
            -0.3688400089740753, -0.3012193441390991, -0.2950720191001892, -0.3503980040550232, -0.38113465905189514,
            -0.31351399421691895, -0.24589332938194275,
        ]
        let got = [0, 5, 17, 36].map { w.gradient!.scalars[$0] } + u.gradient!.scalars
        for (a, b) in zip(got, expected) { #expect(abs(a - b) < 1e-6) }
        #expect(none.gradient == nil)
    }

    @Test func smallGradientsStay() {
        let w = parameter(fill(37))
        w.gradient = Tensor(fill(37), shape: [37])
        clipGradientNorm([w], maximum: 100)
        #expect(w.gradient!.scalars == fill(37))
    }

    @Test func aGradientThatIsNoNumberShows() {
        let w = parameter([1, 2])
        w.gradient = Tensor([.nan, 1], shape: [2])
        #expect(clipGradientNorm([w], maximum: 1).isNaN)
        #expect(w.gradient!.scalars.allSatisfy { $0.isNaN })
    }

    @Test func gradientsThatShareMemoryAreScaledOnce() {
        let (a, b) = (parameter([1, 2]), parameter([3, 4]))
        let shared = Tensor([3, 4], shape: [2])
        a.gradient = shared
        b.gradient = shared
        clipGradientNorm([a, b], maximum: 1)
        #expect(shared.scalars == [3, 4])
        #expect(a.gradient!.scalars == b.gradient!.scalars)
        #expect(abs(a.gradient!.scalars[1] - 4 / Float(50).squareRoot()) < 1e-5)
    }

    @Test func longGradientsAreSummedInBlocks() {
        let w = parameter(fill(100_003))
        w.gradient = w.data
        let expected = fill(100_003).reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(clipGradientNorm([w], maximum: 1e9) - expected) < 1e-5 * expected)
    }

    @Test func valuesAreLimited() {
        let (w, none) = (parameter([1, 2, 3]), parameter([1]))
        w.gradient = Tensor([-3, 0.25, 0.75], shape: [3])
        clipGradientValue([w, none], maximum: 0.5)
        #expect(w.gradient!.scalars == [-0.5, 0.25, 0.5])
        #expect(none.gradient == nil)
    }
}

@Suite struct ParameterGroupTests {
    private final class Model: Module {
        @Child var backbone: Module = Sequential(Conv2d(3, 4, kernelSize: 3), BatchNorm2d(4))
        @Child var classifier: Module = Linear(4, 2)
        @Child var classifiers: Module = Linear(2, 2, bias: false)
    }

    @Test func headAndNormsHaveGroupsOfTheirOwn() {
        let groups = parameterGroups(
            of: Model(), learningRate: 0.1, weightDecay: 0.01, headLearningRateFactor: 10, decaysNormsAndBiases: false)
        #expect(groups.map(\.name) == ["backbone", "backbone, no decay", "head", "head, no decay"])
        #expect(
            groups.map { $0.parameters.map(\.key) } == [
                ["backbone.0.weight", "classifiers.weight"],
                ["backbone.0.bias", "backbone.1.weight", "backbone.1.bias"],
                ["classifier.weight"], ["classifier.bias"],
            ])
        #expect(groups.map(\.learningRate) == [0.1, 0.1, 1, 1])
        #expect(groups.map(\.weightDecay) == [0.01, 0, 0.01, 0])
    }

    @Test func oneGroupWithoutAHead() {
        let model = Sequential(Linear(2, 2), BatchNorm2d(2))
        let groups = parameterGroups(of: model, learningRate: 0.1, weightDecay: 0.5)
        #expect(groups.map(\.name) == ["backbone"])
        #expect(groups[0].parameters.map(\.key) == ["0.weight", "0.bias", "1.weight", "1.bias"])
        #expect(groups[0].weightDecay == 0.5)
    }

    @Test func freezingGoesByWholeComponents() throws {
        let model = Model()
        try model.freeze(pathPrefixes: ["backbone.0", "classifier"])
        let frozen = model.namedParameters().filter { !$0.parameter.requiresGradient }.map(\.key)
        #expect(frozen == ["backbone.0.weight", "backbone.0.bias", "classifier.weight", "classifier.bias"])
    }

    @Test func prefixesThatMatchNothingAreNamed() {
        let model = Model()
        let error = #expect(throws: FreezeError.self) {
            try model.freeze(pathPrefixes: ["backbone", "classif", "backbone.2", ""])
        }
        #expect(error?.unmatched == ["classif", "backbone.2", ""])
        #expect(error?.children == ["backbone", "classifier", "classifiers"])
        #expect(model.parameters().allSatisfy { $0.requiresGradient })
    }

    @Test func frozenParametersStayAndStatisticsMove() throws {
        let norm = BatchNorm2d(4)
        let model = Sequential(Conv2d(3, 4, kernelSize: 3), norm, Flatten(), Linear(4, 2))
        try model.freeze(pathPrefixes: ["0", "1"])
        let before = model.parameters().map { $0.data.scalars }
        let optimizer = SGD(parameterGroups(of: model, learningRate: 0.1, weightDecay: 0.1))
        model(Tensor(fill(54), shape: [2, 3, 3, 3])).squared().sum().backward()
        optimizer.step()
        let same = zip(before, model.parameters()).map { $0 == $1.data.scalars }
        #expect(same == [true, true, true, true, false, false])
        #expect(norm.batchesTracked.values == [1])
        #expect(norm.runningMean.value.scalars != [0, 0, 0, 0])
    }
}
