import Foundation
import Layers
import Tensors
import Testing

@Suite struct LossTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let loss: any TrainingLoss
        /// The shape of the output that the loss gets.
        let shape: [Int]
        let value: Double
        /// The norm of the gradient.
        let norm: Double
        /// The gradient's elements 0, 7, 13 and 22.
        let gradient: [Float]

        init(
            _ name: String, _ loss: any TrainingLoss, _ shape: [Int], _ value: Double, norm: Double, _ gradient: [Float]
        ) {
            testDescription = name
            self.loss = loss
            self.shape = shape
            self.value = value
            self.norm = norm
            self.gradient = gradient
        }
    }

    /// Class 4 is missing, labels 1 and 2 come once; some cosines of labels are beyond ArcFace's `cos(π - m)`, some
    /// triplets are within the margin.
    static let labels = [0, 1, 0, 2, 3, 3]

    static func values(_ shape: [Int]) -> Tensor {
        let scalars: [Float] = (0..<shape.reduce(1, *)).map { Float(($0 * 37 + 11) % 127 - 63) / 64 }
        return Tensor(scalars, shape: shape)
    }

    /// The numbers are torch's, in float64, each by the formula written out:
    ///
    ///     fill = lambda n: torch.tensor([((i * 37 + 11) % 127 - 63) / 64 for i in range(n)], dtype=torch.float64)
    ///     y = torch.tensor([0, 1, 0, 2, 3, 3])
    ///     cosface: F.cross_entropy(s * (c - m * F.one_hot(y, 5)), y, label_smoothing=ls)
    ///     arcface: c[i, y[i]] = cos(acos(x) + m) if x > cos(pi - m) else x - m * sin(m)   (easy: if x > 0 else x)
    ///     subcenter: arcface of c.view(6, 5, 3).max(2).values
    ///     proxy_anchor: mean over p in set(y) of log(1 + sum(exp(-a * (c[i, p] - d)) for i if y[i] == p))
    ///                   + mean over all p of log(1 + sum(exp(a * (c[i, p] + d)) for i if y[i] != p))
    ///     triplet: mean over rows with both of F.relu(max(d_pos) - min(d_neg) + m), or F.softplus(...)
    ///     supcon: z = F.normalize(x); mean over rows with companions of
    ///             -mean over companions p of log(exp(z[i] @ z[p] / t) / sum(exp(z[i] @ z[a] / t) for a != i))
    static let cases: [Case] = [
        Case(
            "cross_entropy", CrossEntropy(), [6, 5], 2.05340763, norm: 0.396494707,
            [-0.1538604, 0.0135168, 0.07255259, 0.02745956]),
        Case(
            "cross_entropy, smooth", CrossEntropy(labelSmoothing: 0.1), [6, 5], 2.02450138, norm: 0.361268585,
            [-0.140527, 0.01018347, 0.06921926, 0.02412622]),
        Case(
            "normalized_softmax", NormalizedSoftmax(), [6, 5], 17.4258223, norm: 8.38761343,
            [-2.666667, 4.430153e-10, 2.66641, 4.609817e-06]),
        Case(
            "normalized_softmax, smooth", NormalizedSoftmax(scale: 8, labelSmoothing: 0.2), [6, 5], 8.31790102,
            norm: 3.64728119, [-1.119999, -0.05331821, 1.266911, -0.05177701]),
        Case(
            "cosface", CosFace(), [6, 5], 89.4002763, norm: 36.9402084,
            [-10.66667, 7.753826e-32, 10.66667, 1.024286e-22]),
        Case(
            "cosface, smooth", CosFace(scale: 10, margin: 0.2, labelSmoothing: 0.1), [6, 5], 12.2017057,
            norm: 5.01452486, [-1.533333, -0.03332744, 1.628191, -0.03291604]),
        Case(
            "arcface", ArcFace(), [6, 5], 87.4025135, norm: 36.3436153,
            [-2.23344, 7.766661e-32, 10.66667, 1.024286e-22]),
        Case(
            "arcface, small", ArcFace(scale: 4, margin: 1.2, labelSmoothing: 0.1), [6, 5], 8.38510618,
            norm: 2.06370011, [-0.6133267, -0.008694502, 0.5859528, 0.009895899]),
        Case(
            "arcface, easy", ArcFace(scale: 8, margin: 0.4, easyMargin: true), [6, 5], 9.41865884, norm: 4.4816683,
            [-1.333332, 8.19671e-05, 1.320245, 0.00175372]),
        Case(
            "subcenter", SubCenterArcFace(), [6, 15], 43.6218591, norm: 45.0253278, [0, 0, 0.0001781485, 0]),
        Case(
            "subcenter, small", SubCenterArcFace(scale: 6, margin: 0.3), [6, 15], 3.49671343, norm: 3.33070267,
            [0, 0, 0.2180996, 0]),
        Case(
            "proxy_anchor", ProxyAnchor(), [6, 5], 47.62847, norm: 19.8817398,
            [-0.0325611, 1.013257e-22, 0.02604888, 1.627946e-12]),
        Case(
            "proxy_anchor, small", ProxyAnchor(alpha: 4, delta: 0.3), [6, 5], 7.8849518, norm: 2.08267418,
            [-0.3332871, 0.000945914, 0.2628309, 0.01784809]),
        Case(
            "triplet", TripletBatchHard(), [6, 4], 0.54712358, norm: 0.741085151,
            [0.07838294, 0, -0.125, 0.04923882]),
        Case(
            "triplet, wide", TripletBatchHard(margin: 2), [6, 4], 1.90188963, norm: 1.12290904,
            [0.3133864, 0, -0.125, 0.3484776]),
        Case(
            "triplet, soft", TripletBatchHard(margin: .soft), [6, 4], 0.778577183, norm: 0.555635299,
            [0.08778484, 0, -0.1010333, 0.1041615]),
        Case(
            "supcon", SupervisedContrastive(), [6, 4], 4.54010303, norm: 6.24189688,
            [2.198484, 0.4168509, -0.6021705, 0.254214]),
        Case(
            "supcon, warm", SupervisedContrastive(temperature: 0.7), [6, 4], 1.40059287, norm: 0.825218964,
            [0.2988838, 0.02904515, -0.07151837, 0.05764902]),
    ]

    /// The loss of `x`, for the contrastive one of its rows scaled to norm 1.
    private func loss(_ test: Case, _ x: Tensor, labels: [Int] = labels) -> Tensor {
        test.loss(test.loss is SupervisedContrastive ? x / x.norm() : x, labels: labels)
    }

    private func lossAndGradient(_ test: Case, _ x: Tensor, labels: [Int] = labels) throws -> (Float, [Float]) {
        var gradient: Tensor?
        let result = loss(test, x.watched { gradient = $0 }, labels: labels)
        #expect(result.shape == [])
        result.backward()
        return (result.scalar, try #require(gradient).scalars)
    }

    @Test(arguments: cases) func agreesWithTheFormulaInTorch(test: Case) throws {
        let (value, gradient) = try lossAndGradient(test, Self.values(test.shape))
        #expect(abs(Double(value) - test.value) <= 1e-5 * test.value)
        let norm = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(norm - test.norm) <= 1e-5 * test.norm)
        for (place, expected) in zip([0, 7, 13, 22], test.gradient) {
            let got = gradient[place]
            #expect(
                abs(got - expected) <= 1e-5 * (abs(expected) + Float(test.norm)),
                "element \(place): \(got), \(expected)")
        }
    }

    /// Not of the steepest losses: differences of float32 cannot show their gradients.
    @Test(arguments: cases.filter { $0.norm < 8 }) func gradientsAreDifferences(test: Case) throws {
        let x = Self.values(test.shape)
        let gradient = try lossAndGradient(test, x).1
        let scale = gradient.map(abs).max()!, step: Float = 1e-3
        for element in 0..<x.count {
            func shifted(_ delta: Float) -> Float {
                var scalars = x.scalars
                scalars[element] += delta
                return loss(test, Tensor(scalars, shape: x.shape)).scalar
            }
            let difference = (shifted(step) - shifted(-step)) / (2 * step)
            #expect(
                abs(gradient[element] - difference) <= 5e-3 * scale,
                "element \(element): \(gradient[element]), difference \(difference)")
        }
    }

    @Test(arguments: cases) func aNumberThatIsNoneShows(test: Case) {
        var scalars = Self.values(test.shape).scalars
        scalars[test.shape[1] * 2] = .nan
        #expect(!loss(test, Tensor(scalars, shape: test.shape)).scalar.isFinite)
    }

    @Test(arguments: cases.filter { $0.loss.input == .logits }) func gradientsAreFiniteAtThePoles(test: Case) throws {
        let x = Tensor((0..<test.shape[0] * test.shape[1]).map { $0 % 3 == 1 ? Float(-1) : 1 }, shape: test.shape)
        for labels in [Self.labels, [0, 1, 2, 3, 4, 2]] {
            let (value, gradient) = try lossAndGradient(test, x, labels: labels)
            #expect(value.isFinite && gradient.allSatisfy { $0.isFinite })
        }
    }

    @Test func crossEntropyIsTensorsOwn() {
        let x = Self.values([6, 5])
        #expect(
            CrossEntropy(labelSmoothing: 0.3)(x, labels: Self.labels).scalar
                == x.crossEntropy(Self.labels, labelSmoothing: 0.3).scalar)
    }

    @Test func arcFaceWithoutMarginIsTheNormalizedSoftmax() {
        let x = Self.values([6, 5])
        let expected = NormalizedSoftmax(scale: 9)(x, labels: Self.labels).scalar
        for loss in [ArcFace(scale: 9, margin: 0), ArcFace(scale: 9, margin: 0, easyMargin: true)] {
            #expect(abs(loss(x, labels: Self.labels).scalar - expected) <= 1e-5 * expected)
        }
    }

    @Test func largeScalesDoNotOverflow() {
        let loss = ProxyAnchor(alpha: 1000)(Self.values([6, 5]), labels: Self.labels).scalar
        #expect(loss.isFinite && loss > 1000)
    }

    @Test(arguments: [[0, 0, 0], [0, 1, 2]]) func batchesWithoutTripletsGiveZero(labels: [Int]) throws {
        let x = Self.values([3, 4])
        let test = Case("", TripletBatchHard(), [3, 4], 0, norm: 0, [])
        let (value, gradient) = try lossAndGradient(test, x, labels: labels)
        #expect(value == 0 && gradient.allSatisfy { $0 == 0 })
    }

    @Test func samplesWithoutCompanionsDoNotCount() throws {
        let alone = Case("", SupervisedContrastive(), [3, 4], 0, norm: 0, [])
        let (value, gradient) = try lossAndGradient(alone, Self.values([3, 4]), labels: [3, 1, 2])
        #expect(value == 0 && gradient.allSatisfy { $0 == 0 })
        // A pair and a stranger: the mean over the pair alone.
        let x = Tensor([1, 0, 0, 1, 0, 1], shape: [3, 2])
        let got = SupervisedContrastive(temperature: 1)(x, labels: [0, 1, 1]).scalar
        #expect(abs(got - (-1 + log(exp(1) + 1))) < 1e-6)
    }

    @Test func duplicatesHaveFiniteGradients() throws {
        let x = Tensor([1, 2, 1, 2, 3, 1, 3, 1], shape: [4, 2])
        let test = Case("", TripletBatchHard(margin: 5), [4, 2], 0, norm: 0, [])
        let (value, gradient) = try lossAndGradient(test, x, labels: [0, 0, 1, 1])
        #expect(abs(value - (5 - Float(5).squareRoot())) < 1e-5)
        #expect(gradient.allSatisfy { $0.isFinite } && gradient.contains { $0 != 0 })
    }

    @Test func onlyTheNearestCentreOfAClassLearns() throws {
        let test = Case("", SubCenterArcFace(centers: 2, scale: 4, margin: 0.1), [1, 4], 0, norm: 0, [])
        let (_, gradient) = try lossAndGradient(test, Tensor([0.1, 0.4, 0.3, -0.2], shape: [1, 4]), labels: [0])
        #expect(gradient[0] == 0 && gradient[1] < 0 && gradient[2] > 0 && gradient[3] == 0)
        #expect(test.loss.centersPerClass == 2)
    }
}

@Suite struct LossNameTests {
    @Test(arguments: LossName.allCases) func defaultsAreTheLosses(name: LossName) throws {
        let loss = try name.loss()
        let direct: any TrainingLoss =
            switch name {
            case .crossEntropy: CrossEntropy()
            case .normalizedSoftmax: NormalizedSoftmax()
            case .cosFace: CosFace()
            case .arcFace: ArcFace()
            case .subCenterArcFace: SubCenterArcFace()
            case .proxyAnchor: ProxyAnchor()
            case .triplet: TripletBatchHard()
            case .supervisedContrastive: SupervisedContrastive()
            }
        #expect("\(loss)" == "\(direct)")
    }

    @Test(arguments: LossName.allCases) func settingsReachTheLoss(name: LossName) throws {
        let settings = name.settings
        let changed = try name.loss(
            scale: settings.contains(.scale) ? 5 : nil, margin: settings.contains(.margin) ? 0.25 : nil,
            labelSmoothing: settings.contains(.labelSmoothing) ? 0.125 : 0,
            centers: settings.contains(.centers) ? 9 : nil, temperature: settings.contains(.temperature) ? 0.75 : nil)
        let text = "\(changed)"
        for (setting, value) in [
            (LossSetting.scale, "5.0"), (.margin, "0.25"), (.labelSmoothing, "0.125"), (.centers, "9"),
            (.temperature, "0.75"),
        ] { #expect(text.contains(value) == settings.contains(setting), "\(setting) in \(text)") }
    }

    @Test(arguments: LossName.allCases) func settingsThatALossDoesNotHaveAreRefused(name: LossName) {
        let attempts: [(LossSetting, () throws -> any TrainingLoss)] = [
            (.scale, { try name.loss(scale: 4) }), (.margin, { try name.loss(margin: 0.1) }),
            (.labelSmoothing, { try name.loss(labelSmoothing: 0.1) }), (.centers, { try name.loss(centers: 2) }),
            (.temperature, { try name.loss(temperature: 0.2) }),
        ]
        for (setting, attempt) in attempts where !name.settings.contains(setting) {
            let error = #expect(throws: LossSettingError.self) { try attempt() }
            #expect(error == .unknown(setting, of: name))
            #expect("\(error!)".contains("the loss \(name.rawValue) has no \(setting.rawValue)"))
        }
    }

    @Test func valuesOutOfRangeAreRefused() {
        #expect(throws: LossSettingError.self) { try LossName.cosFace.loss(scale: 0) }
        #expect(throws: LossSettingError.self) { try LossName.cosFace.loss(scale: .nan) }
        #expect(throws: LossSettingError.self) { try LossName.arcFace.loss(margin: 3.2) }
        #expect(throws: LossSettingError.self) { try LossName.triplet.loss(margin: -1) }
        #expect(throws: LossSettingError.self) { try LossName.crossEntropy.loss(labelSmoothing: 1) }
        #expect(throws: LossSettingError.self) { try LossName.subCenterArcFace.loss(centers: 0) }
        #expect(throws: LossSettingError.self) { try LossName.supervisedContrastive.loss(temperature: 0) }
    }
}
