import Recognite
import Testing

/// The distributions that parameters are drawn from, and the rates and constants, of AlexNet, VGG, DenseNet, GoogLeNet
/// and Inception v3; as torchvision's.
@Suite struct ClassicFamiliesInitializationTests {
    private static let vgg: [InitializationRule] = [
        (#"\.bias$"#, .constant(0)),
        (#"^classifier\.\d\.weight$"#, .normal(std: 0.01)),
    ]
    private static let norms: [InitializationRule] = [
        (#"bn\.weight$"#, .constant(1)),
        (#"bn\.bias$"#, .constant(0)),
        // torchvision leaves the biases of the fully-connected layers as torch.nn.Linear starts.
        (#"fc\d?\.bias$"#, .layerDefault),
    ]
    static let rules: [(model: String, rules: [InitializationRule])] = [
        ("alexnet", [(#""#, .layerDefault)]),
        ("vgg11", vgg + [(#"\.weight$"#, .kaimingNormalFanOut)]),
        (
            "vgg11_bn",
            vgg + [
                (#"^features\.(1|5|9|12|16|19|23|26)\.weight$"#, .constant(1)), (#"\.weight$"#, .kaimingNormalFanOut),
            ]
        ),
        (
            "densenet121",
            [
                (#"^classifier\.weight$"#, .layerDefault),
                (#"norm\d?\.weight$"#, .constant(1)),
                (#"\.bias$"#, .constant(0)),
                (#"conv\d?\.weight$"#, .kaimingNormalFanIn),
            ]
        ),
        // Cut at ± 2, which no number of these deviations reaches.
        ("googlenet", norms + [(#"\.weight$"#, .normal(std: 0.01))]),
        (
            "inception_v3",
            norms + [(#"^AuxLogits\.fc\.weight$"#, .normal(std: 0.001)), (#"\.weight$"#, .normal(std: 0.1))]
        ),
    ]

    @Test(arguments: rules) func parametersFollowTheRecipes(model: String, rules: [InitializationRule]) throws {
        try expectParameters(of: model, follow: rules)
    }

    struct Constants: Sendable {
        let model: String
        var eps: Float?
        var dropouts: [Double] = []
    }

    static let constants = [
        Constants(model: "alexnet", dropouts: [0.5, 0.5]),
        Constants(model: "vgg11", dropouts: [0.5, 0.5]),
        Constants(model: "vgg19_bn", eps: 1e-5, dropouts: [0.5, 0.5]),
        Constants(model: "densenet161", eps: 1e-5),
        Constants(model: "googlenet", eps: 1e-3, dropouts: [0.7, 0.7, 0.2]),
        Constants(model: "inception_v3", eps: 1e-3, dropouts: [0.5]),
    ]

    @Test(arguments: constants) func constantsAreTorchvisions(expected: Constants) throws {
        let model = try ModelRegistry.makeModel(expected.model)
        #expect(model.modules.compactMap { ($0 as? Dropout)?.p } == expected.dropouts)
        let norms = model.modules.compactMap { $0 as? BatchNorm2d }
        #expect(Set(norms.map(\.eps)) == Set([expected.eps].compactMap(\.self)))
        #expect(norms.allSatisfy { $0.momentum == 0.1 })
    }
}
