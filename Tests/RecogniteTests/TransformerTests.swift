import Foundation
import Recognite
import Testing
import TestSupport

/// What the golden files do not show of the transformers: other image sizes, weights on their way into a model. The
/// expected numbers are those of torchvision 0.29.2 on the same weights and images.
@Suite struct TransformerTests {
    static let sizes: [(model: String, imageSize: Int, norm: Double, stride: Int, values: [Double])] = [
        ("vit_b_32", 64, 22.371991, 128, [-0.244157, 1.378313, 0.020728, -0.553603, -0.274083, -0.279633]),
        ("vit_b_32", 288, 22.497148, 128, [-0.163077, 0.940033, 0.691034, -0.246041, 0.253007, 0.755016]),
        ("maxvit_t", 448, 13.449911, 85, [-0.726226, 0.45448, 0.042082, -0.153659, -0.968472, 0.686226]),
    ]

    @Test(arguments: sizes) func embeddingsOfAnotherSize(
        name: String, imageSize: Int, norm: Double, stride: Int, values: [Double]
    ) throws {
        let url = try #require(Bundle.module.url(forResource: name, withExtension: "json", subdirectory: "Golden"))
        let golden = try JSONDecoder().decode(GoldenFile.self, from: Data(contentsOf: url))
        let usual = try ModelRegistry.makeModel(name)
        try ReferenceFill.fill(usual, rows: golden.state, prefix: "", salt: golden.salt)
        let model = try ModelRegistry.makeModel(name, imageSize: imageSize)
        var state = usual.stateDict()
        if name.hasPrefix("vit") {
            state = try VisionTransformer.interpolatingEmbeddings(of: state, imageSize: imageSize, patchSize: 32)
        }
        try model.load(stateDict: state)
        _ = try model.splitBackboneClassifier()
        model.eval()
        let embedding = GradientMode.disabled {
            model(ReferenceFill.images(1, imageSize, imageSize, salt: "sizes")).scalars.map(Double.init)
        }
        #expect(abs(embedding.reduce(0) { $0 + $1 * $1 }.squareRoot() - norm) < 1e-4)
        for (index, value) in values.enumerated() {
            #expect(abs(embedding[index * stride] - value) < 1e-4, "element \(index * stride)")
        }
    }

    private func state(patches: Int) -> StateDict {
        var state = StateDict()
        let side = Int(Double(patches).squareRoot())
        let values = ReferenceFill.values((patches + 1) * 2, key: "pos\(side)", salt: "sizes", a: 1, b: 0)
        state["encoder.pos_embedding"] = StateDict.Entry(Tensor(values, shape: [1, patches + 1, 2]))
        state["heads.head.weight"] = StateDict.Entry(.zeros([3, 2]))
        return state
    }

    static let interpolations: [(from: Int, to: Int, norm: Double, first: [Double], last: [Double])] = [
        (3, 5, 4.467114, [-0.703093, 0.278083, 0.845923, -0.298971, 0.919192, -0.695864], [-0.571401, 0.950844]),
        (5, 3, 1.993377, [0.625022, -0.252351, 0.980794, 0.180634, 0.040981, 0.810466], [-0.079656, 0.556727]),
        (4, 1, 1.231288, [-0.126379, 0.629659, -0.536855, 0.903003], [-0.536855, 0.903003]),
        (2, 7, 4.557999, [-0.266535, -0.669995, 0.103766, 0.05192, 0.141635, 0.15], [0.388857, 0.876448]),
    ]

    @Test(arguments: interpolations) func positionEmbeddingsAreInterpolated(
        from side: Int, to newSide: Int, norm: Double, first: [Double], last: [Double]
    ) throws {
        let state = try VisionTransformer.interpolatingEmbeddings(
            of: state(patches: side * side), imageSize: 4 * newSide, patchSize: 4)
        let entry = try #require(state["encoder.pos_embedding"])
        #expect(entry.shape == [1, newSide * newSide + 1, 2])
        #expect(state.keys == ["encoder.pos_embedding", "heads.head.weight"])
        let values = try entry.tensor().scalars.map(Double.init)
        #expect(abs(values.reduce(0) { $0 + $1 * $1 }.squareRoot() - norm) < 1e-5)
        for (got, expected) in zip(values, first) { #expect(abs(got - expected) < 2e-6) }
        for (got, expected) in zip(values.suffix(2), last) { #expect(abs(got - expected) < 2e-6) }
    }

    @Test func interpolationKeepsWhatFits() throws {
        let original = state(patches: 9)
        let same = try VisionTransformer.interpolatingEmbeddings(
            of: original, imageSize: 12, patchSize: 4, resetHeads: true)
        #expect(same.keys == original.keys)
        let other = try VisionTransformer.interpolatingEmbeddings(
            of: original, imageSize: 16, patchSize: 4, resetHeads: true)
        #expect(other.keys == ["encoder.pos_embedding"])
    }

    @Test func interpolationNamesWhatIsWrong() {
        #expect(throws: PositionEmbeddingError.self) {
            try VisionTransformer.interpolatingEmbeddings(of: StateDict(), imageSize: 16, patchSize: 4)
        }
        #expect(throws: PositionEmbeddingError.self) {
            try VisionTransformer.interpolatingEmbeddings(of: state(patches: 8), imageSize: 16, patchSize: 4)
        }
    }

    @Test func legacyKeysAreRenamed() {
        var state = StateDict()
        let keys = [
            "encoder.layers.encoder_layer_0.mlp.linear_1.weight": "encoder.layers.encoder_layer_0.mlp.0.weight",
            "encoder.layers.encoder_layer_11.mlp.linear_2.bias": "encoder.layers.encoder_layer_11.mlp.3.bias",
            "encoder.layers.encoder_layer_0.mlp.0.bias": "encoder.layers.encoder_layer_0.mlp.0.bias",
            "conv_proj.weight": "conv_proj.weight",
        ]
        for key in keys.keys.sorted() { state[key] = StateDict.Entry(.zeros([1])) }
        #expect(VisionTransformer.renamingLegacyKeys(state).keys == keys.keys.sorted().map { keys[$0]! })
    }

    @Test func onlyTransformersOfFixedTokensHaveAFixedSize() {
        let fixed = ModelRegistry.entries.filter(\.hasFixedInputSize).map(\.name)
        #expect(fixed == ["maxvit_t", "vit_b_16", "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32"])
    }
}
