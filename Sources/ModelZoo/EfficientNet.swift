// EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, arXiv 1905.11946; EfficientNetV2: Smaller
// Models and Faster Training, arXiv 2104.00298. As torchvision's models/efficientnet.py.
import Layers
import Tensors

/// EfficientNet b0 to b7 and V2: `[N, H, W, 3]` to `[N, classes]`.
public final class EfficientNet: Module {
    /// A stage of blocks.
    public struct Stage: Sendable {
        public enum Block: Sendable {
            /// Expansion, depthwise convolution, squeeze-and-excitation, projection.
            case mobile
            /// Expansion and depthwise convolution fused into one convolution; no squeeze-and-excitation.
            case fused
        }
        public var block: Block
        /// The factor by which a block widens its input.
        public var expansion: Int
        public var kernelSize: Int
        /// The stride of the first block; the others have 1.
        public var stride: Int
        public var outChannels: Int
        public var blocks: Int
    }

    /// What tells one network of the family from another.
    public struct Config: Sendable {
        public var stages: [Stage]
        public var stemChannels: Int
        /// Channels of the last convolution; `nil` stands for four times those of the last stage.
        public var lastChannels: Int?
        /// The probability of dropping a feature before the classifier.
        public var dropout: Double
        public var normEps: Float = 1e-5
        public var normMomentum: Float = 0.1
    }

    /// The probability of dropping a residual branch grows along the blocks from 0 towards this.
    private static let stochasticDepth = 0.2

    @Child public var features: Module
    @Child public var avgpool: Module
    @Child public var classifier: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        func norm(_ channels: Int) -> Module {
            BatchNorm2d(channels, eps: config.normEps, momentum: config.normMomentum)
        }
        var channels = config.stemChannels
        var layers: [Module] = [Conv2dNormActivation(3, channels, stride: 2, activation: .silu, norm: norm)]
        let total = config.stages.reduce(0) { $0 + $1.blocks }
        var done = 0
        for stage in config.stages {
            let blocks = (0..<stage.blocks).map { block -> Module in
                defer { (channels, done) = (stage.outChannels, done + 1) }
                return InvertedResidual(
                    channels, stage, stride: block == 0 ? stage.stride : 1,
                    dropProbability: Self.stochasticDepth * Double(done) / Double(total), norm: norm)
            }
            layers.append(Sequential(blocks))
        }
        let lastChannels = config.lastChannels ?? 4 * channels
        layers.append(Conv2dNormActivation(channels, lastChannels, kernelSize: 1, activation: .silu, norm: norm))
        features = Sequential(layers)
        avgpool = AdaptiveAvgPool2d(1)
        classifier = Sequential(Dropout(p: config.dropout), Linear(lastChannels, numClasses))
        super.init()
        let bound = 1 / Float(numClasses).squareRoot()
        initialize(
            convolutions: LayerRecipe(weight: .kaimingNormal(.out), bias: .zeros),
            linears: LayerRecipe(weight: .uniform(low: -bound, high: bound), bias: .zeros))
    }

    public override func forward(_ x: Tensor) -> Tensor {
        classifier(avgpool(features(x)).flattenedChannelsFirst())
    }
}

/// A mobile or fused block, beside a shortcut where the shapes allow it.
private final class InvertedResidual: Module {
    @Child var block: Module
    @Child var stochastic_depth: Module
    private let hasShortcut: Bool
    private let isFused: Bool

    init(
        _ inChannels: Int, _ stage: EfficientNet.Stage, stride: Int, dropProbability: Double,
        norm: @escaping (Int) -> Module
    ) {
        let expanded = makeDivisible(Double(inChannels * stage.expansion))
        var layers: [Module] = []
        switch stage.block {
        case .mobile:
            if expanded != inChannels {
                layers.append(
                    Conv2dNormActivation(inChannels, expanded, kernelSize: 1, activation: .silu, norm: norm))
            }
            layers += [
                Conv2dNormActivation(
                    expanded, expanded, kernelSize: stage.kernelSize, stride: stride, groups: expanded,
                    activation: .silu, norm: norm),
                SqueezeExcitation(expanded, squeezed: max(1, inChannels / 4), activation: .silu),
                Conv2dNormActivation(expanded, stage.outChannels, kernelSize: 1, activation: nil, norm: norm),
            ]
        case .fused where expanded == inChannels:
            layers.append(
                Conv2dNormActivation(
                    inChannels, stage.outChannels, kernelSize: stage.kernelSize, stride: stride, activation: .silu,
                    norm: norm))
        case .fused:
            layers += [
                Conv2dNormActivation(
                    inChannels, expanded, kernelSize: stage.kernelSize, stride: stride, activation: .silu,
                    norm: norm),
                Conv2dNormActivation(expanded, stage.outChannels, kernelSize: 1, activation: nil, norm: norm),
            ]
        }
        block = Sequential(layers)
        stochastic_depth = StochasticDepth(p: dropProbability)
        hasShortcut = stride == 1 && inChannels == stage.outChannels
        isFused = stage.block == .fused
        super.init()
    }

    override var typeName: String { isFused ? "FusedMBConv" : "MBConv" }

    override func forward(_ x: Tensor) -> Tensor { hasShortcut ? stochastic_depth(block(x)) + x : block(x) }
}

extension EfficientNet {
    private static func mobile(
        _ expansion: Int, _ kernelSize: Int, out: Int, blocks: Int, stride: Int = 1
    ) -> Stage {
        Stage(
            block: .mobile, expansion: expansion, kernelSize: kernelSize, stride: stride, outChannels: out,
            blocks: blocks)
    }

    private static func fused(_ expansion: Int, out: Int, blocks: Int, stride: Int = 1) -> Stage {
        Stage(block: .fused, expansion: expansion, kernelSize: 3, stride: stride, outChannels: out, blocks: blocks)
    }

    /// The first network's stages, at width and depth 1.
    private static let baseline = [
        mobile(1, 3, out: 16, blocks: 1),
        mobile(6, 3, out: 24, blocks: 2, stride: 2),
        mobile(6, 5, out: 40, blocks: 2, stride: 2),
        mobile(6, 3, out: 80, blocks: 3, stride: 2),
        mobile(6, 5, out: 112, blocks: 3),
        mobile(6, 5, out: 192, blocks: 4, stride: 2),
        mobile(6, 3, out: 320, blocks: 1),
    ]

    /// The first network scaled. From b5 on the batch norms' eps and momentum are TensorFlow's.
    private static func scaled(
        width: Double, depth: Double, dropout: Double, hasTensorFlowNorms: Bool = false
    ) -> Config {
        let stages = baseline.map { row in
            var stage = row
            stage.outChannels = makeDivisible(Double(row.outChannels) * width)
            stage.blocks = Int((Double(row.blocks) * depth).rounded(.up))
            return stage
        }
        var config = Config(stages: stages, stemChannels: makeDivisible(32 * width), dropout: dropout)
        if hasTensorFlowNorms { (config.normEps, config.normMomentum) = (0.001, 0.01) }
        return config
    }

    private static let v2Small = [
        fused(1, out: 24, blocks: 2),
        fused(4, out: 48, blocks: 4, stride: 2),
        fused(4, out: 64, blocks: 4, stride: 2),
        mobile(4, 3, out: 128, blocks: 6, stride: 2),
        mobile(6, 3, out: 160, blocks: 9),
        mobile(6, 3, out: 256, blocks: 15, stride: 2),
    ]

    private static let v2Medium = [
        fused(1, out: 24, blocks: 3),
        fused(4, out: 48, blocks: 5, stride: 2),
        fused(4, out: 80, blocks: 5, stride: 2),
        mobile(4, 3, out: 160, blocks: 7, stride: 2),
        mobile(6, 3, out: 176, blocks: 14),
        mobile(6, 3, out: 304, blocks: 18, stride: 2),
        mobile(6, 3, out: 512, blocks: 5),
    ]

    private static let v2Large = [
        fused(1, out: 32, blocks: 4),
        fused(4, out: 64, blocks: 7, stride: 2),
        fused(4, out: 96, blocks: 7, stride: 2),
        mobile(4, 3, out: 192, blocks: 10, stride: 2),
        mobile(6, 3, out: 224, blocks: 19),
        mobile(6, 3, out: 384, blocks: 25, stride: 2),
        mobile(6, 3, out: 640, blocks: 7),
    ]

    private static func v2(_ stages: [Stage], dropout: Double) -> Config {
        Config(
            stages: stages, stemChannels: stages[0].outChannels, lastChannels: 1280, dropout: dropout,
            normEps: 0.001)
    }

    static let configs: [(name: String, inputSize: Int, config: Config)] = [
        ("efficientnet_b0", 224, scaled(width: 1.0, depth: 1.0, dropout: 0.2)),
        ("efficientnet_b1", 240, scaled(width: 1.0, depth: 1.1, dropout: 0.2)),
        ("efficientnet_b2", 288, scaled(width: 1.1, depth: 1.2, dropout: 0.3)),
        ("efficientnet_b3", 300, scaled(width: 1.2, depth: 1.4, dropout: 0.3)),
        ("efficientnet_b4", 380, scaled(width: 1.4, depth: 1.8, dropout: 0.4)),
        ("efficientnet_b5", 456, scaled(width: 1.6, depth: 2.2, dropout: 0.4, hasTensorFlowNorms: true)),
        ("efficientnet_b6", 528, scaled(width: 1.8, depth: 2.6, dropout: 0.5, hasTensorFlowNorms: true)),
        ("efficientnet_b7", 600, scaled(width: 2.0, depth: 3.1, dropout: 0.5, hasTensorFlowNorms: true)),
        ("efficientnet_v2_s", 384, v2(v2Small, dropout: 0.2)),
        ("efficientnet_v2_m", 480, v2(v2Medium, dropout: 0.3)),
        ("efficientnet_v2_l", 480, v2(v2Large, dropout: 0.4)),
    ]

    static let registry = configs.map { name, inputSize, config in
        ModelRegistry.Entry(name: name, inputSize: inputSize) { EfficientNet(config, numClasses: $0) }
    }
}
