// MobileNetV3: Searching for MobileNetV3, arXiv 1905.02244. As torchvision's models/mobilenetv3.py.
import Layers
import Tensors

/// MobileNetV3: `[N, H, W, 3]` to `[N, classes]`.
public final class MobileNetV3: Module {
    /// An inverted residual block.
    public struct Block: Sendable {
        /// The side of the depthwise convolution.
        public var kernelSize: Int
        /// Channels of the depthwise convolution.
        public var expanded: Int
        public var outChannels: Int
        /// Whether a squeeze-and-excitation follows the depthwise convolution.
        public var squeezes: Bool
        public var activation: Activation
        public var stride: Int
    }

    /// What tells one network of the family from another.
    public struct Config: Sendable {
        public var blocks: [Block]
        /// Features of the layer before the classifier.
        public var lastFeatures: Int
    }

    @Child public var features: Module
    @Child public var avgpool: Module
    @Child public var classifier: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        var channels = 16
        var layers: [Module] = [
            Conv2dNormActivation(3, channels, stride: 2, activation: .hardswish, norm: batchNorm)
        ]
        for block in config.blocks {
            layers.append(InvertedResidual(channels, block))
            channels = block.outChannels
        }
        let lastChannels = 6 * channels
        layers.append(
            Conv2dNormActivation(channels, lastChannels, kernelSize: 1, activation: .hardswish, norm: batchNorm))
        features = Sequential(layers)
        avgpool = AdaptiveAvgPool2d(1)
        classifier = Sequential(
            Linear(lastChannels, config.lastFeatures),
            Hardswish(),
            Dropout(p: 0.2),
            Linear(config.lastFeatures, numClasses))
        super.init()
        initialize(
            convolutions: LayerRecipe(weight: .kaimingNormal(.out), bias: .zeros),
            linears: LayerRecipe(weight: .normal(std: 0.01), bias: .zeros))
    }

    public override func forward(_ x: Tensor) -> Tensor {
        classifier(avgpool(features(x)).flattenedChannelsFirst())
    }
}

private func batchNorm(_ channels: Int) -> Module { BatchNorm2d(channels, eps: 0.001, momentum: 0.01) }

/// Expansion, depthwise convolution, squeeze-and-excitation and linear projection, beside a shortcut where the shapes
/// allow it.
private final class InvertedResidual: Module {
    @Child var block: Module
    private let hasShortcut: Bool

    init(_ inChannels: Int, _ config: MobileNetV3.Block) {
        let (expanded, activation) = (config.expanded, config.activation)
        var layers: [Module] = []
        if expanded != inChannels {
            layers.append(
                Conv2dNormActivation(inChannels, expanded, kernelSize: 1, activation: activation, norm: batchNorm))
        }
        layers.append(
            Conv2dNormActivation(
                expanded, expanded, kernelSize: config.kernelSize, stride: config.stride, groups: expanded,
                activation: activation, norm: batchNorm))
        if config.squeezes {
            layers.append(
                SqueezeExcitation(
                    expanded, squeezed: makeDivisible(Double(expanded / 4)), scaleActivation: .hardsigmoid))
        }
        layers.append(
            Conv2dNormActivation(expanded, config.outChannels, kernelSize: 1, activation: nil, norm: batchNorm))
        block = Sequential(layers)
        hasShortcut = config.stride == 1 && inChannels == config.outChannels
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { hasShortcut ? block(x) + x : block(x) }
}

extension MobileNetV3 {
    /// One row of the paper's tables 1 and 2.
    private static func row(
        _ kernelSize: Int, expanded: Int, out: Int, squeezes: Bool = false, _ activation: Activation, stride: Int = 1
    ) -> Block {
        Block(
            kernelSize: kernelSize, expanded: expanded, outChannels: out, squeezes: squeezes, activation: activation,
            stride: stride)
    }

    static let large = Config(
        blocks: [
            row(3, expanded: 16, out: 16, .relu),
            row(3, expanded: 64, out: 24, .relu, stride: 2),
            row(3, expanded: 72, out: 24, .relu),
            row(5, expanded: 72, out: 40, squeezes: true, .relu, stride: 2),
            row(5, expanded: 120, out: 40, squeezes: true, .relu),
            row(5, expanded: 120, out: 40, squeezes: true, .relu),
            row(3, expanded: 240, out: 80, .hardswish, stride: 2),
            row(3, expanded: 200, out: 80, .hardswish),
            row(3, expanded: 184, out: 80, .hardswish),
            row(3, expanded: 184, out: 80, .hardswish),
            row(3, expanded: 480, out: 112, squeezes: true, .hardswish),
            row(3, expanded: 672, out: 112, squeezes: true, .hardswish),
            row(5, expanded: 672, out: 160, squeezes: true, .hardswish, stride: 2),
            row(5, expanded: 960, out: 160, squeezes: true, .hardswish),
            row(5, expanded: 960, out: 160, squeezes: true, .hardswish),
        ], lastFeatures: 1280)

    static let small = Config(
        blocks: [
            row(3, expanded: 16, out: 16, squeezes: true, .relu, stride: 2),
            row(3, expanded: 72, out: 24, .relu, stride: 2),
            row(3, expanded: 88, out: 24, .relu),
            row(5, expanded: 96, out: 40, squeezes: true, .hardswish, stride: 2),
            row(5, expanded: 240, out: 40, squeezes: true, .hardswish),
            row(5, expanded: 240, out: 40, squeezes: true, .hardswish),
            row(5, expanded: 120, out: 48, squeezes: true, .hardswish),
            row(5, expanded: 144, out: 48, squeezes: true, .hardswish),
            row(5, expanded: 288, out: 96, squeezes: true, .hardswish, stride: 2),
            row(5, expanded: 576, out: 96, squeezes: true, .hardswish),
            row(5, expanded: 576, out: 96, squeezes: true, .hardswish),
        ], lastFeatures: 1024)

    static let registry = [
        ModelRegistry.Entry(name: "mobilenet_v3_large", inputSize: 224) { MobileNetV3(large, numClasses: $0) },
        ModelRegistry.Entry(name: "mobilenet_v3_small", inputSize: 224) { MobileNetV3(small, numClasses: $0) },
    ]
}
