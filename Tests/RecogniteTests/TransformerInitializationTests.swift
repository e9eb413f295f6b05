import Recognite
import Testing

/// The distributions that the transformers' and ConvNeXt's parameters are drawn from, as torchvision's.
@Suite struct TransformerInitializationTests {
    private static let width = 768.0  // of vit_b_32
    private static let swin: [InitializationRule] = [
        (#"relative_position_bias_table$"#, .normal(std: 0.02)),
        (#"logit_scale$"#, .constant(2.3025851)),
        // torchvision leaves the patches' convolution as torch.nn.Conv2d starts.
        (#"^features\.0\.0\."#, .uniform(bound: 1 / 48.0.squareRoot())),
        (#"(^features\.0\.2|norm\d?)\.weight$"#, .constant(1)),
        (#"\.bias$"#, .constant(0)),
        (#"(qkv|proj|mlp\.\d|cpb_mlp\.\d|reduction|head)\.weight$"#, .normal(std: 0.02)),
    ]
    static let rules: [(model: String, rules: [InitializationRule])] = [
        (
            "convnext_tiny",
            [
                (#"layer_scale$"#, .constant(1e-6)),
                (#"(^features\.0\.1|^features\.[246]\.0|block\.2|classifier\.0)\.weight$"#, .constant(1)),
                (#"\.bias$"#, .constant(0)),
                (#"(^features\.0\.0|^features\.[246]\.1|block\.[035]|classifier\.2)\.weight$"#, .normal(std: 0.02)),
            ]
        ),
        (
            "vit_b_32",
            [
                (#"class_token$"#, .constant(0)),
                (#"pos_embedding$"#, .normal(std: 0.02)),
                (#"ln(_\d)?\.weight$"#, .constant(1)),
                (#"conv_proj\.weight$"#, .normal(std: (1 / 3072.0).squareRoot())),
                (#"in_proj_weight$"#, .uniform(bound: (6 / (4 * width)).squareRoot())),
                (#"out_proj\.weight$"#, .uniform(bound: (1 / width).squareRoot())),
                (#"mlp\.\d\.weight$"#, .uniform(bound: (6 / (5 * width)).squareRoot())),
                (#"mlp\.\d\.bias$"#, .normal(std: 1e-6)),
                (#"heads\.head\.weight$"#, .constant(0)),
                (#"(\.|_)bias$"#, .constant(0)),
            ]
        ),
        ("swin_t", swin),
        ("swin_v2_t", swin),
        (
            "maxvit_t",
            [
                (#"relative_position_bias_table$"#, .normal(std: 0.02)),
                (#"(^stem\.0\.1|pre_norm|conv_[ab]\.1|(attn|mlp)_layer\.0|classifier\.2)\.weight$"#, .constant(1)),
                (#"\.bias$"#, .constant(0)),
                (#"\.weight$"#, .normal(std: 0.02)),
            ]
        ),
    ]

    @Test(arguments: rules) func parametersFollowTheRecipes(model: String, rules: [InitializationRule]) throws {
        try expectParameters(of: model, follow: rules)
    }

    static let depths: [(model: String, modules: Int, last: Double)] = [
        ("convnext_tiny", 18, 0.1), ("convnext_small", 36, 0.4), ("convnext_base", 36, 0.5),
        ("convnext_large", 36, 0.5), ("swin_t", 12, 0.2), ("swin_s", 24, 0.3), ("swin_b", 24, 0.5),
        ("swin_v2_t", 12, 0.2), ("swin_v2_s", 24, 0.3), ("swin_v2_b", 24, 0.5), ("maxvit_t", 32, 0.2),
    ]

    @Test(arguments: depths) func stochasticDepthGrowsLinearly(model name: String, modules: Int, last: Double) throws {
        let model = try ModelRegistry.makeModel(name)
        let probabilities = model.modules.compactMap { ($0 as? StochasticDepth)?.p }
        #expect(probabilities.count == modules)
        #expect(abs(probabilities.last! - last) < 1e-12)
        #expect(probabilities.first == 0)
        let steps = Set(probabilities).sorted()
        let step = last / Double(steps.count - 1)
        for (index, value) in steps.enumerated() { #expect(abs(value - step * Double(index)) < 1e-12) }
    }
}
