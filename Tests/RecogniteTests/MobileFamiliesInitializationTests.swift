import Recognite
import Testing

/// The distributions that parameters are drawn from, and the rates and constants, of MNASNet, MobileNetV3, EfficientNet,
/// RegNet and ShuffleNetV2; as torchvision's.
@Suite struct MobileFamiliesInitializationTests {
    /// Blocks of convolution, norm and activation.
    private static let blocks: [InitializationRule] = [
        (#"\.(0|fc\d)\.weight$"#, .kaimingNormalFanOut),
        (#"\.1\.weight$"#, .constant(1)),
        (#"\.bias$"#, .constant(0)),
    ]
    private static let efficientNet: [InitializationRule] =
        [(#"^classifier\.1\.weight$"#, .uniform(bound: 1 / 1000.0.squareRoot()))] + blocks
    static let rules: [(model: String, rules: [InitializationRule])] = [
        (
            "mnasnet0_5",
            [
                (#"^classifier\.1\.weight$"#, .uniform(bound: (3 / 1000.0).squareRoot())),
                (#"^layers\.(1|4|7|15)\.weight$"#, .constant(1)),
                (#"\.layers\.[147]\.weight$"#, .constant(1)),
                (#"\.bias$"#, .constant(0)),
                (#"\.weight$"#, .kaimingNormalFanOut),
            ]
        ),
        (
            "mobilenet_v3_small",
            [(#"^classifier\.[03]\.weight$"#, .normal(std: 0.01))] + blocks
        ),
        ("efficientnet_b0", efficientNet),
        ("efficientnet_v2_s", efficientNet),
        (
            "regnet_y_400mf",
            [
                (#"^fc\.weight$"#, .normal(std: 0.01)),
                // torchvision sets the weights only.
                (#"\.se\.fc\d\.bias$"#, .layerDefault),
            ] + blocks
        ),
        (
            "shufflenet_v2_x0_5",
            [
                (#"^fc\."#, .layerDefault),
                (#"(conv[15]\.1|branch1\.[13]|branch2\.[146])\.weight$"#, .constant(1)),
                (#"\.weight$"#, .layerDefault),
                (#"\.bias$"#, .constant(0)),
            ]
        ),
    ]

    @Test(arguments: rules) func parametersFollowTheRecipes(model: String, rules: [InitializationRule]) throws {
        try expectParameters(of: model, follow: rules)
    }

    struct Constants: Sendable {
        let model: String
        var eps: Float = 1e-5
        var momentum: Float = 0.1
        var dropout: Double?
    }

    static let constants = [
        Constants(model: "mnasnet0_5", momentum: 3e-4, dropout: 0.2),
        Constants(model: "mnasnet1_3", momentum: 3e-4, dropout: 0.2),
        Constants(model: "mobilenet_v3_small", eps: 1e-3, momentum: 0.01, dropout: 0.2),
        Constants(model: "mobilenet_v3_large", eps: 1e-3, momentum: 0.01, dropout: 0.2),
        Constants(model: "efficientnet_b0", dropout: 0.2),
        Constants(model: "efficientnet_b1", dropout: 0.2),
        Constants(model: "efficientnet_b2", dropout: 0.3),
        Constants(model: "efficientnet_b3", dropout: 0.3),
        Constants(model: "efficientnet_b4", dropout: 0.4),
        Constants(model: "efficientnet_b5", eps: 1e-3, momentum: 0.01, dropout: 0.4),
        Constants(model: "efficientnet_b6", eps: 1e-3, momentum: 0.01, dropout: 0.5),
        Constants(model: "efficientnet_b7", eps: 1e-3, momentum: 0.01, dropout: 0.5),
        Constants(model: "efficientnet_v2_s", eps: 1e-3, dropout: 0.2),
        Constants(model: "efficientnet_v2_m", eps: 1e-3, dropout: 0.3),
        Constants(model: "efficientnet_v2_l", eps: 1e-3, dropout: 0.4),
        Constants(model: "regnet_x_400mf"),
        Constants(model: "regnet_y_400mf"),
        Constants(model: "shufflenet_v2_x1_0"),
    ]

    @Test(arguments: constants) func constantsAreTorchvisions(expected: Constants) throws {
        let model = try ModelRegistry.makeModel(expected.model)
        #expect(model.modules.compactMap { ($0 as? Dropout)?.p } == [expected.dropout].compactMap(\.self))
        let norms = model.modules.compactMap { $0 as? BatchNorm2d }
        #expect(!norms.isEmpty && norms.allSatisfy { $0.eps == expected.eps })
        #expect(norms.allSatisfy { abs($0.momentum - expected.momentum) < 1e-7 })
        let depths = model.modules.compactMap { ($0 as? StochasticDepth)?.p }
        for (index, p) in depths.enumerated() {
            #expect(abs(p - 0.2 * Double(index) / Double(depths.count)) < 1e-12)
        }
        #expect(depths.isEmpty != expected.model.hasPrefix("efficientnet"))
    }
}
