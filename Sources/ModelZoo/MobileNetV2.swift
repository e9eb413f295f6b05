// MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381. As torchvision's models/mobilenetv2.py.
import Layers
import Tensors

/// MobileNetV2: `[N, H, W, 3]` to `[N, classes]`.
public final class MobileNetV2: Module, FunctionalPooling {
    /// A stage of inverted residual blocks.
    struct Stage {
        /// The factor by which a block widens its input before the depthwise convolution.
        let expansion: Int
        let outChannels: Int
        let blocks: Int
        /// The stride of the first block; the others have 1.
        let stride: Int
    }

    private static let stages = [
        Stage(expansion: 1, outChannels: 16, blocks: 1, stride: 1),
        Stage(expansion: 6, outChannels: 24, blocks: 2, stride: 2),
        Stage(expansion: 6, outChannels: 32, blocks: 3, stride: 2),
        Stage(expansion: 6, outChannels: 64, blocks: 4, stride: 2),
        Stage(expansion: 6, outChannels: 96, blocks: 3, stride: 1),
        Stage(expansion: 6, outChannels: 160, blocks: 3, stride: 2),
        Stage(expansion: 6, outChannels: 320, blocks: 1, stride: 1),
    ]

    public var gemPooling: GeMPool2d? {
        didSet { invalidatePlans() }
    }

    @Child public var features: Module
    @Child public var classifier: Module

    public init(numClasses: Int = 1000) {
        let lastChannels = 1280
        var channels = 32
        var layers: [Module] = [Conv2dNormActivation(3, channels, stride: 2, activation: .relu6)]
        for stage in Self.stages {
            for block in 0..<stage.blocks {
                layers.append(
                    InvertedResidual(
                        channels, stage.outChannels, stride: block == 0 ? stage.stride : 1,
                        expansion: stage.expansion))
                channels = stage.outChannels
            }
        }
        layers.append(Conv2dNormActivation(channels, lastChannels, kernelSize: 1, activation: .relu6))
        features = Sequential(layers)
        classifier = Sequential(Dropout(p: 0.2), Linear(lastChannels, numClasses))
        super.init()
        initialize(
            convolutions: LayerRecipe(weight: .kaimingNormal(.out)),
            linears: LayerRecipe(weight: .normal(std: 0.01), bias: .zeros))
    }

    public override func forward(_ x: Tensor) -> Tensor { classifier(pooled(features(x))) }
}

/// Expansion, depthwise convolution and linear projection, beside a shortcut where the shapes allow it.
private final class InvertedResidual: Module {
    @Child var conv: Module
    private let hasShortcut: Bool

    init(_ inChannels: Int, _ outChannels: Int, stride: Int, expansion: Int) {
        let hidden = inChannels * expansion
        var layers: [Module] = []
        if expansion != 1 {
            layers.append(Conv2dNormActivation(inChannels, hidden, kernelSize: 1, activation: .relu6))
        }
        layers += [
            Conv2dNormActivation(hidden, hidden, stride: stride, groups: hidden, activation: .relu6),
            Conv2d(hidden, outChannels, kernelSize: 1, bias: false),
            BatchNorm2d(outChannels),
        ]
        conv = Sequential(layers)
        hasShortcut = stride == 1 && inChannels == outChannels
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { hasShortcut ? x + conv(x) : conv(x) }
}

extension MobileNetV2 {
    static let registry = [
        ModelRegistry.Entry(name: "mobilenet_v2", inputSize: 224) { MobileNetV2(numClasses: $0) }
    ]
}
