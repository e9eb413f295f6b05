import Recognite
import Testing

/// What DenseNet has beside a network: the keys of its published weights.
@Suite struct DenseNetTests {
    @Test func legacyKeysAreRenamed() {
        let keys = [
            ("features.conv0.weight", "features.conv0.weight"),
            ("features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
            (
                "features.denseblock1.denselayer1.norm.2.running_var",
                "features.denseblock1.denselayer1.norm2.running_var"
            ),
            ("features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"),
            (
                "backbone.features.denseblock1.denselayer2.conv.1.bias",
                "backbone.features.denseblock1.denselayer2.conv1.bias"
            ),
            ("features.denseblock1.denselayer2.norm1.bias", "features.denseblock1.denselayer2.norm1.bias"),
            // torchvision's pattern leaves these.
            ("features.denseblock1.denselayer2.conv.3.weight", "features.denseblock1.denselayer2.conv.3.weight"),
            ("features.denseblock1.denselayer.conv.1.weight", "features.denseblock1.denselayer.conv.1.weight"),
            ("features.transition1.norm.1.weight", "features.transition1.norm.1.weight"),
            // The new key is there as well: strict loading tells of the old one.
            ("denselayer1.conv.1.weight", "denselayer1.conv.1.weight"),
            ("denselayer1.conv1.weight", "denselayer1.conv1.weight"),
        ]
        var state = StateDict()
        for (old, _) in keys { state[old] = StateDict.Entry(.zeros([1])) }
        #expect(DenseNet.renamingLegacyKeys(state).keys == keys.map { $0.1 })
    }

    /// The published weights, whose counters are missing too, have every other key of the model after the renaming.
    @Test func legacyStateFitsTheModel() {
        let keys = DenseNet(DenseNet.Config(depths: [1, 2, 1, 1])).stateKeysAndShapes.map(\.key)
        var state = StateDict()
        for key in keys {
            let old = key.replacing(/(denselayer\d+\.(?:norm|relu|conv))([12])/) { "\($0.1).\($0.2)" }
            if !key.hasSuffix("num_batches_tracked") { state[old] = StateDict.Entry(.zeros([1])) }
        }
        #expect(state.keys.contains { $0.contains("norm.1") })
        let renamed = DenseNet.renamingLegacyKeys(state).keys
        #expect(renamed == keys.filter { !$0.hasSuffix("num_batches_tracked") })
    }
}
