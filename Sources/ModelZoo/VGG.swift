// VGG: Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556. As torchvision's
// models/vgg.py.
import Layers
import Tensors

/// VGG with and without batch norm: `[N, H, W, 3]` to `[N, classes]`.
public final class VGG: Module {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        /// 3 x 3 convolutions in each of the five stages; a stage ends with a max pool.
        public var depths: [Int]
        /// Whether a batch norm follows each convolution.
        public var hasBatchNorm: Bool
    }

    /// The stages' output channels.
    private static let widths = [64, 128, 256, 512, 512]

    @Child public var features: Module
    @Child public var avgpool: Module
    @Child public var classifier: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        var channels = 3
        var layers: [Module] = []
        for (width, depth) in zip(Self.widths, config.depths) {
            for _ in 0..<depth {
                layers.append(Conv2d(channels, width, kernelSize: 3, padding: 1))
                if config.hasBatchNorm { layers.append(BatchNorm2d(width)) }
                layers.append(ReLU())
                channels = width
            }
            layers.append(MaxPool2d(kernelSize: 2, stride: 2))
        }
        features = Sequential(layers)
        avgpool = AdaptiveAvgPool2d(7)
        classifier = Sequential(
            Linear(channels * 7 * 7, 4096),
            ReLU(),
            Dropout(p: 0.5),
            Linear(4096, 4096),
            ReLU(),
            Dropout(p: 0.5),
            Linear(4096, numClasses))
        super.init()
        initialize(
            convolutions: LayerRecipe(weight: .kaimingNormal(.out), bias: .zeros),
            linears: LayerRecipe(weight: .normal(std: 0.01), bias: .zeros))
    }

    public override func forward(_ x: Tensor) -> Tensor {
        classifier(avgpool(features(x)).flattenedChannelsFirst())
    }
}

extension VGG {
    static let configs: [(name: String, config: Config)] = [
        ("vgg11", Config(depths: [1, 1, 2, 2, 2], hasBatchNorm: false)),
        ("vgg11_bn", Config(depths: [1, 1, 2, 2, 2], hasBatchNorm: true)),
        ("vgg13", Config(depths: [2, 2, 2, 2, 2], hasBatchNorm: false)),
        ("vgg13_bn", Config(depths: [2, 2, 2, 2, 2], hasBatchNorm: true)),
        ("vgg16", Config(depths: [2, 2, 3, 3, 3], hasBatchNorm: false)),
        ("vgg16_bn", Config(depths: [2, 2, 3, 3, 3], hasBatchNorm: true)),
        ("vgg19", Config(depths: [2, 2, 4, 4, 4], hasBatchNorm: false)),
        ("vgg19_bn", Config(depths: [2, 2, 4, 4, 4], hasBatchNorm: true)),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(name: name, inputSize: 224) { VGG(config, numClasses: $0) }
    }
}
