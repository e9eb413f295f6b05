// ConvNeXt: A ConvNet for the 2020s, arXiv 2201.03545. As torchvision's models/convnext.py; where that permutes between
// channels first and last, there is an Identity here, because channels are always last.
import Layers
import Tensors

/// ConvNeXt: `[N, H, W, 3]` to `[N, classes]`.
public final class ConvNeXt: Module {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        /// Channels of the first stage; each stage has twice as many as the one before.
        public var width: Int
        /// Blocks of each stage.
        public var depths: [Int]
        /// The probability of dropping the last block; it grows linearly from 0 at the first.
        public var stochasticDepth: Double
    }

    @Child public var features: Module
    @Child public var avgpool: Module
    @Child public var classifier: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        var channels = config.width
        var layers: [Module] = [
            Conv2dNormActivation(
                3, channels, kernelSize: 4, stride: 4, padding: 0, bias: true, activation: nil,
                norm: Self.makeNorm)
        ]
        let lastBlock = max(1, config.depths.reduce(0, +) - 1)
        var block = 0
        for (stage, depth) in config.depths.enumerated() {
            if stage > 0 {
                layers.append(
                    Sequential(
                        Self.makeNorm(channels), Conv2d(channels, 2 * channels, kernelSize: 2, stride: 2)))
                channels *= 2
            }
            let blocks = (block..<block + depth).map {
                ConvNeXtBlock(channels, dropProbability: config.stochasticDepth * Double($0) / Double(lastBlock))
            }
            layers.append(Sequential(blocks))
            block += depth
        }
        features = Sequential(layers)
        avgpool = AdaptiveAvgPool2d(1)
        classifier = Sequential(Self.makeNorm(channels), Flatten(), Linear(channels, numClasses))
        super.init()
        let recipe = LayerRecipe(weight: .truncatedNormal(std: 0.02), bias: .zeros)
        initialize(convolutions: recipe, linears: recipe)
    }

    /// torchvision's `LayerNorm2d`: layer norm over the channels.
    fileprivate static func makeNorm(_ channels: Int) -> Module { LayerNorm(channels, eps: 1e-6) }

    public override func forward(_ x: Tensor) -> Tensor { classifier(avgpool(features(x))) }
}

/// A depthwise 7 x 7 convolution, layer norm and an inverted bottleneck, scaled per channel, beside a shortcut.
private final class ConvNeXtBlock: Module {
    @Child var block: Module
    let layerScale: Parameter
    @Child var stochasticDepth: Module

    init(_ channels: Int, dropProbability: Double) {
        block = Sequential(
            Conv2d(channels, channels, kernelSize: 7, padding: 3, groups: channels), Identity(),
            ConvNeXt.makeNorm(channels), Linear(channels, 4 * channels), GELU(), Linear(4 * channels, channels),
            Identity())
        layerScale = Parameter(key: "layer_scale", shape: [channels, 1, 1], initializer: .constant(1e-6))
        _stochasticDepth = Child(wrappedValue: StochasticDepth(p: dropProbability), key: "stochastic_depth")
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        x + stochasticDepth(block(x) * layerScale.value.reshaped([layerScale.count]))
    }
}

extension ConvNeXt {
    static let configs: [(name: String, config: Config)] = [
        ("convnext_tiny", Config(width: 96, depths: [3, 3, 9, 3], stochasticDepth: 0.1)),
        ("convnext_small", Config(width: 96, depths: [3, 3, 27, 3], stochasticDepth: 0.4)),
        ("convnext_base", Config(width: 128, depths: [3, 3, 27, 3], stochasticDepth: 0.5)),
        ("convnext_large", Config(width: 192, depths: [3, 3, 27, 3], stochasticDepth: 0.5)),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(name: name, inputSize: 224) { ConvNeXt(config, numClasses: $0) }
    }
}
