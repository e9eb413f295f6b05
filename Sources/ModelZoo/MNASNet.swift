// MNASNet: Platform-Aware Neural Architecture Search for Mobile, arXiv 1807.11626 (the B1 model, without
// squeeze-and-excitation). As torchvision's models/mnasnet.py, version 2.
import Layers
import Tensors

/// MNASNet: `[N, H, W, 3]` to `[N, classes]`.
public final class MNASNet: Module, FunctionalPooling {
    /// A stage of inverted residual blocks.
    struct Stage {
        /// The side of the depthwise convolutions.
        let kernelSize: Int
        /// The factor by which a block widens its input before the depthwise convolution.
        let expansion: Int
        /// At width 1.
        let outChannels: Int
        let blocks: Int
        /// The stride of the first block; the others have 1.
        let stride: Int
    }

    private static let stages = [
        Stage(kernelSize: 3, expansion: 3, outChannels: 24, blocks: 3, stride: 2),
        Stage(kernelSize: 5, expansion: 3, outChannels: 40, blocks: 3, stride: 2),
        Stage(kernelSize: 5, expansion: 6, outChannels: 80, blocks: 3, stride: 2),
        Stage(kernelSize: 3, expansion: 6, outChannels: 96, blocks: 2, stride: 1),
        Stage(kernelSize: 5, expansion: 6, outChannels: 192, blocks: 4, stride: 2),
        Stage(kernelSize: 3, expansion: 6, outChannels: 320, blocks: 1, stride: 1),
    ]

    /// The factor of all channels but those of the last convolution.
    private let width: Double
    public var gemPooling: GeMPool2d? {
        didSet { invalidatePlans() }
    }

    @Child public var layers: Module
    @Child public var classifier: Module

    /// - Parameter width: the factor of all channels but those of the last convolution.
    public init(width: Double, numClasses: Int = 1000) {
        let lastChannels = 1280
        self.width = width
        var channels = makeDivisible(16 * width)
        var layers = Self.stem(makeDivisible(32 * width), channels)
        for stage in Self.stages {
            let outChannels = makeDivisible(Double(stage.outChannels) * width)
            layers.append(Self.blocks(stage, channels, outChannels))
            channels = outChannels
        }
        layers += [
            Conv2d(channels, lastChannels, kernelSize: 1, bias: false),
            batchNorm(lastChannels),
            ReLU(),
        ]
        self.layers = Sequential(layers)
        classifier = Sequential(Dropout(p: 0.2), Linear(lastChannels, numClasses))
        super.init()
        initialize(
            convolutions: LayerRecipe(weight: .kaimingNormal(.out)),
            linears: LayerRecipe(weight: .kaimingUniform(.out, gain: 1), bias: .zeros))
    }

    public override func forward(_ x: Tensor) -> Tensor { classifier(pooled(layers(x))) }

    private static func stem(_ stemChannels: Int, _ outChannels: Int) -> [Module] {
        [
            Conv2d(3, stemChannels, kernelSize: 3, stride: 2, padding: 1, bias: false),
            batchNorm(stemChannels),
            ReLU(),
            Conv2d(stemChannels, stemChannels, kernelSize: 3, padding: 1, groups: stemChannels, bias: false),
            batchNorm(stemChannels),
            ReLU(),
            Conv2d(stemChannels, outChannels, kernelSize: 1, bias: false),
            batchNorm(outChannels),
        ]
    }

    private static func blocks(_ stage: Stage, _ inChannels: Int, _ outChannels: Int) -> Module {
        Sequential(
            (0..<stage.blocks).map { block in
                InvertedResidual(
                    block == 0 ? inChannels : outChannels, outChannels, kernelSize: stage.kernelSize,
                    stride: block == 0 ? stage.stride : 1, expansion: stage.expansion)
            })
    }

    /// Whether the stem has the channels that it has at width 1, as in every network of torchvision's first version.
    var hasFixedStem: Bool { ((layers as? Sequential)?[0] as? Conv2d)?.outChannels == 32 }

    /// Turns the network into one of torchvision's first version, whose stem did not become narrower or wider.
    ///
    /// - Returns: puts the stem back.
    func setFixedStem() -> () -> Void {
        guard let layers = layers as? Sequential else { return {} }
        let outChannels = makeDivisible(Double(Self.stages[0].outChannels) * width)
        let new = Self.stem(32, 16) + [Self.blocks(Self.stages[0], 16, outChannels)]
        let old = new.indices.map { layers[$0] }
        for (index, module) in new.enumerated() {
            module.train(isTraining)
            layers[index] = module
        }
        return { for (index, module) in old.enumerated() { layers[index] = module } }
    }
}

/// TensorFlow's momentum of 0.9997, in PyTorch's sense.
private func batchNorm(_ channels: Int) -> Module { BatchNorm2d(channels, momentum: Float(1 - 0.9997)) }

/// Expansion, depthwise convolution and linear projection, beside a shortcut where the shapes allow it.
private final class InvertedResidual: Module {
    @Child var layers: Module
    private let hasShortcut: Bool

    init(_ inChannels: Int, _ outChannels: Int, kernelSize: Int, stride: Int, expansion: Int) {
        let hidden = inChannels * expansion
        layers = Sequential(
            Conv2d(inChannels, hidden, kernelSize: 1, bias: false),
            batchNorm(hidden),
            ReLU(),
            Conv2d(
                hidden, hidden, kernelSize: IntPair(kernelSize), stride: IntPair(stride),
                padding: IntPair(kernelSize / 2), groups: hidden, bias: false),
            batchNorm(hidden),
            ReLU(),
            Conv2d(hidden, outChannels, kernelSize: 1, bias: false),
            batchNorm(outChannels))
        hasShortcut = stride == 1 && inChannels == outChannels
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { hasShortcut ? layers(x) + x : layers(x) }
}

extension MNASNet {
    static let configs: [(name: String, width: Double)] = [
        ("mnasnet0_5", 0.5),
        ("mnasnet0_75", 0.75),
        ("mnasnet1_0", 1.0),
        ("mnasnet1_3", 1.3),
    ]

    static let registry = configs.map { name, width in
        ModelRegistry.Entry(name: name, inputSize: 224) { MNASNet(width: width, numClasses: $0) }
    }
}
