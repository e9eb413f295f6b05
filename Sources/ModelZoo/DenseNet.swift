// DenseNet-BC: Densely Connected Convolutional Networks, arXiv 1608.06993. As torchvision's models/densenet.py, without
// its option to compute concatenations anew in the backward pass.
import Layers
import Tensors

/// DenseNet: `[N, H, W, 3]` to `[N, classes]`.
public final class DenseNet: Module, FunctionalPooling {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        /// Channels that each dense layer adds.
        public var growthRate: Int
        /// Dense layers in each of the four blocks.
        public var depths: [Int]
        /// Channels of the first convolution.
        public var stemChannels: Int

        public init(growthRate: Int = 32, depths: [Int], stemChannels: Int = 64) {
            precondition(depths.count == 4, "DenseNet: \(depths.count) blocks, expected 4")
            self.growthRate = growthRate
            self.depths = depths
            self.stemChannels = stemChannels
        }
    }

    public var gemPooling: GeMPool2d? {
        didSet { invalidatePlans() }
    }

    @Child public var features: Module
    @Child public var classifier: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        var channels = config.stemChannels
        let features = Sequential(named: [
            ("conv0", Conv2d(3, channels, kernelSize: 7, stride: 2, padding: 3, bias: false)),
            ("norm0", BatchNorm2d(channels)),
            ("relu0", ReLU()),
            ("pool0", MaxPool2d(kernelSize: 3, stride: 2, padding: 1)),
        ])
        for (index, depth) in config.depths.enumerated() {
            let layers = (0..<depth).map { layer -> (name: String, module: Module) in
                defer { channels += config.growthRate }
                return ("denselayer\(layer + 1)", DenseLayer(channels, growthRate: config.growthRate))
            }
            features.append(DenseBlock(named: layers), name: "denseblock\(index + 1)")
            if index < config.depths.count - 1 {
                features.append(transition(channels, channels / 2), name: "transition\(index + 1)")
                channels /= 2
            }
        }
        features.append(BatchNorm2d(channels), name: "norm5")
        self.features = features
        classifier = Linear(channels, numClasses)
        super.init()
        initialize(
            convolutions: LayerRecipe(weight: .kaimingNormal(.in)), linears: LayerRecipe(bias: .zeros))
    }

    public override func forward(_ x: Tensor) -> Tensor {
        classifier(pooled(features(x).activated(.relu)))
    }
}

/// Dense layers, each of which gets the block's input and what all layers before it added: `[N, H, W, C]` to
/// `[N, H, W, C + depth · growthRate]`.
private final class DenseBlock: Sequential {
    override func forward(_ x: Tensor) -> Tensor {
        (0..<count).reduce(x) { .concatenatedChannels($0, self[$1]($0)) }
    }
}

/// Half of the channels and a quarter of the pixels: `[N, H, W, C]` to `[N, H / 2, W / 2, outChannels]`.
private func transition(_ channels: Int, _ outChannels: Int) -> Sequential {
    Sequential(named: [
        ("norm", BatchNorm2d(channels)),
        ("relu", ReLU()),
        ("conv", Conv2d(channels, outChannels, kernelSize: 1, bias: false)),
        ("pool", AvgPool2d(kernelSize: 2, stride: 2)),
    ])
}

/// New channels, made by a 1 x 1 and a 3 x 3 convolution: `[N, H, W, C]` to `[N, H, W, growthRate]`.
private final class DenseLayer: Module {
    /// Channels between the two convolutions for each new one.
    private static let bottleneck = 4

    @Child var norm1: Module
    @Child var relu1: Module
    @Child var conv1: Module
    @Child var norm2: Module
    @Child var relu2: Module
    @Child var conv2: Module

    init(_ channels: Int, growthRate: Int) {
        let inner = Self.bottleneck * growthRate
        norm1 = BatchNorm2d(channels)
        relu1 = ReLU()
        conv1 = Conv2d(channels, inner, kernelSize: 1, bias: false)
        norm2 = BatchNorm2d(inner)
        relu2 = ReLU()
        conv2 = Conv2d(inner, growthRate, kernelSize: 3, padding: 1, bias: false)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let reduced = conv1(relu1(norm1(x)))
        return conv2(relu2(norm2(reduced)))
    }
}

extension DenseNet {
    /// A state dict with the keys of today: torchvision's pretrained files still have the old ones, such as
    /// `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`. Other keys stay as they are.
    ///
    /// - Precondition: no entry is there under both of its keys.
    public static func renamingLegacyKeys(_ stateDict: StateDict) -> StateDict {
        let legacy = #/(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))/#
        return stateDict.mapKeys { key in
            guard let match = key.wholeMatch(of: legacy) else { return key }
            let renamed = "\(match.1)\(match.2)"
            // A file that holds both must not trap: the old key is then one too many, and loading says so.
            return stateDict[renamed] == nil ? renamed : key
        }
    }

    static let configs: [(name: String, config: Config)] = [
        ("densenet121", Config(depths: [6, 12, 24, 16])),
        ("densenet161", Config(growthRate: 48, depths: [6, 12, 36, 24], stemChannels: 96)),
        ("densenet169", Config(depths: [6, 12, 32, 32])),
        ("densenet201", Config(depths: [6, 12, 48, 32])),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(name: name, inputSize: 224) { DenseNet(config, numClasses: $0) }
    }
}
