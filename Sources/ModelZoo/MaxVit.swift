// MaxViT: Multi-Axis Vision Transformer, arXiv 2204.01697. As torchvision's models/maxvit.py: among others, scores are
// divided by the root of a token's channels, not of a head's. Partitions are no modules here.
import Layers
import Tensors

/// MaxViT: `[N, H, W, 3]` to `[N, classes]`, for images of the size that it is built for.
public final class MaxVit: Module {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        public struct Stage: Sendable {
            public var channels: Int
            public var layers: Int
        }
        public var stemChannels: Int
        public var stages: [Stage]
        /// Channels of an attention head.
        public var headChannels: Int
        /// The side of a window and of a grid, in tokens.
        public var partition: Int
        /// The probability of dropping a branch of the last layer; it grows linearly from 0 at the first.
        public var stochasticDepth: Double
    }

    /// The size of the images that the model takes, in pixels.
    public let imageSize: IntPair
    @Child public var stem: Module
    @Child public var blocks: Module
    @Child public var classifier: Module

    /// - Precondition: after the stem and each stage, which halve the size, rounding up, it is a multiple of the
    ///   partition's side.
    public init(_ config: Config, imageSize: IntPair = 224, numClasses: Int = 1000) {
        self.imageSize = imageSize
        var channels = config.stemChannels
        stem = Sequential(
            Conv2dNormActivation(3, channels, stride: 2, activation: .gelu, norm: Self.makeNorm),
            Conv2dNormActivation(channels, channels, activation: nil, norm: nil))
        let lastLayer = max(1, config.stages.reduce(0) { $0 + $1.layers } - 1)
        var layer = 0
        var size = imageSize.halved
        var stages: [Module] = []
        for stage in config.stages {
            size = size.halved
            precondition(
                size.height > 0 && size.width > 0 && size.height % config.partition == 0
                    && size.width % config.partition == 0,
                "MaxVit: images of \(imageSize) pixels give a stage of \(size) tokens, which partitions of side "
                    + "\(config.partition) do not divide")
            var layers: [Module] = []
            for index in 0..<stage.layers {
                layers.append(
                    MaxVitLayer(
                        channels, stage.channels, stride: index == 0 ? 2 : 1, config: config,
                        dropProbability: config.stochasticDepth * Double(layer) / Double(lastLayer)))
                channels = stage.channels
                layer += 1
            }
            stages.append(MaxVitBlock(layers))
        }
        blocks = Sequential(stages)
        classifier = Sequential(
            AdaptiveAvgPool2d(1), Flatten(), LayerNorm(channels), Linear(channels, channels), Tanh(),
            Linear(channels, numClasses, bias: false))
        super.init()
        let recipe = LayerRecipe(weight: .normal(std: 0.02), bias: .zeros)
        initialize(convolutions: recipe, linears: recipe)
    }

    /// Batch norm with the eps and momentum of the original implementation.
    fileprivate static func makeNorm(_ channels: Int) -> Module {
        BatchNorm2d(channels, eps: 1e-3, momentum: 0.01)
    }

    public override func forward(_ x: Tensor) -> Tensor {
        precondition(
            x.rank == 4 && x.shape[1] == imageSize.height && x.shape[2] == imageSize.width,
            "MaxVit: an input of shape \(x.shape), but this model was built for images of \(imageSize.height) x "
                + "\(imageSize.width) pixels: resize them, or build it with another imageSize")
        return classifier(blocks(stem(x)))
    }
}

extension IntPair {
    /// The size after a 3 x 3 convolution of stride 2 with padding 1.
    fileprivate var halved: IntPair { IntPair((height + 1) / 2, (width + 1) / 2) }
}

/// A stage.
private final class MaxVitBlock: Module {
    @Child var layers: Module

    init(_ layers: [Module]) {
        self.layers = Sequential(layers)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { layers(x) }
}

/// A convolution block, attention in windows and attention on grids.
private final class MaxVitLayer: Module {
    @Child var layers: Module

    init(_ inChannels: Int, _ outChannels: Int, stride: Int, config: MaxVit.Config, dropProbability: Double) {
        func attention(_ kind: PartitionAttention.Kind) -> Module {
            PartitionAttention(
                outChannels, kind, headChannels: config.headChannels, partition: config.partition,
                dropProbability: dropProbability)
        }
        layers = Sequential(named: [
            ("MBconv", MBConv(inChannels, outChannels, stride: stride, dropProbability: dropProbability)),
            ("window_attention", attention(.window)),
            ("grid_attention", attention(.grid)),
        ])
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { layers(x) }
}

/// Expansion, depthwise convolution, squeeze and excitation, and projection behind a batch norm, beside a shortcut.
private final class MBConv: Module {
    @Child var proj: Module
    @Child var stochasticDepth: Module
    @Child var layers: Module

    init(_ inChannels: Int, _ outChannels: Int, stride: Int, dropProbability: Double) {
        let hidden = 4 * outChannels
        if stride == 1 && inChannels == outChannels {
            proj = Identity()
        } else {
            let projection = Conv2d(inChannels, outChannels, kernelSize: 1)
            proj = Sequential(
                stride == 2 ? [AvgPool2d(kernelSize: 3, stride: 2, padding: 1), projection] : [projection])
        }
        _stochasticDepth = Child(
            wrappedValue: dropProbability > 0 ? StochasticDepth(p: dropProbability) : Identity(),
            key: "stochastic_depth")
        layers = Sequential(named: [
            ("pre_norm", MaxVit.makeNorm(inChannels)),
            (
                "conv_a",
                Conv2dNormActivation(inChannels, hidden, kernelSize: 1, activation: .gelu, norm: MaxVit.makeNorm)
            ),
            (
                "conv_b",
                Conv2dNormActivation(
                    hidden, hidden, stride: stride, groups: hidden, activation: .gelu, norm: MaxVit.makeNorm)
            ),
            ("squeeze_excitation", SqueezeExcitation(hidden, squeezed: outChannels / 4, activation: .silu)),
            ("conv_c", Conv2d(hidden, outChannels, kernelSize: 1)),
        ])
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { proj(x) + stochasticDepth(layers(x)) }
}

/// Attention and a perceptron over groups of tokens, beside shortcuts: `[N, H, W, C]` to the same shape.
private final class PartitionAttention: Module {
    enum Kind {
        /// Groups of neighbours.
        case window
        /// Groups of tokens that are spread evenly over the image.
        case grid
    }

    @Child var attnLayer: Module
    @Child var mlpLayer: Module
    @Child var stochasticDropout: Module
    private let kind: Kind
    private let partition: Int

    init(_ channels: Int, _ kind: Kind, headChannels: Int, partition: Int, dropProbability: Double) {
        _attnLayer = Child(
            wrappedValue: Sequential(
                LayerNorm(channels), RelativeAttention(channels, headChannels: headChannels, side: partition),
                Dropout(p: 0)),
            key: "attn_layer")
        _mlpLayer = Child(
            wrappedValue: Sequential(
                LayerNorm(channels), Linear(channels, 4 * channels), GELU(), Linear(4 * channels, channels),
                Dropout(p: 0)),
            key: "mlp_layer")
        _stochasticDropout = Child(wrappedValue: StochasticDepth(p: dropProbability), key: "stochastic_dropout")
        self.kind = kind
        self.partition = partition
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        let groups: RowGather =
            switch kind {
            case .window: .windows(height: height, width: width, side: partition)
            case .grid: .grid(height: height, width: width, side: partition)
            }
        let tokens = x.reshaped([batch, height * width, channels]).gatheringRows(groups)
            .reshaped([batch, -1, partition * partition, channels])
        let attended = tokens + stochasticDropout(attnLayer(tokens))
        let result = attended + stochasticDropout(mlpLayer(attended))
        return result.reshaped([batch, height * width, channels]).gatheringRows(groups.inverted).reshaped(x.shape)
    }
}

/// Attention with a bias by relative position: `[N, groups, L, C]` to the same shape.
private final class RelativeAttention: Module {
    /// `[(2 · side - 1)², H]`.
    let biasTable: Parameter
    let positionIndex: IntegerBuffer
    @Child var toQKV: Module
    @Child var merge: Module
    private let heads: Int
    private let headChannels: Int

    init(_ channels: Int, headChannels: Int, side: Int) {
        precondition(channels % headChannels == 0, "MaxVit: \(channels) channels for heads of \(headChannels)")
        heads = channels / headChannels
        self.headChannels = headChannels
        biasTable = Parameter(
            key: "relative_position_bias_table", shape: [(2 * side - 1) * (2 * side - 1), heads],
            initializer: .truncatedNormal(std: 0.02))
        positionIndex = IntegerBuffer(
            key: "relative_position_index", relativePositionIndex(side: side), shape: [side * side, side * side])
        _toQKV = Child(wrappedValue: Linear(channels, 3 * channels), key: "to_qkv")
        merge = Linear(channels, channels)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let (groups, tokens, channels) = (x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        let packed = toQKV(x).reshaped([groups, tokens, 3, heads, headChannels])
        let bias = biasTable.value.relativePositionBias(positionIndex.values, tokens: tokens)
        return merge(packed.attention(scale: 1 / Float(channels).squareRoot(), bias: bias).reshaped(x.shape))
    }
}

extension MaxVit.Config {
    /// Whether partitions divide every stage of square images of a size.
    func takes(imageSize: Int) -> Bool {
        var size = (imageSize + 1) / 2
        return imageSize > 0
            && stages.allSatisfy { _ in
                size = (size + 1) / 2
                return size % partition == 0
            }
    }
}

extension MaxVit {
    static let tiny = Config(
        stemChannels: 64,
        stages: [
            Config.Stage(channels: 64, layers: 2),
            Config.Stage(channels: 128, layers: 2),
            Config.Stage(channels: 256, layers: 5),
            Config.Stage(channels: 512, layers: 2),
        ],
        headChannels: 32, partition: 7, stochasticDepth: 0.2)

    static let registry = [
        ModelRegistry.Entry(
            name: "maxvit_t", inputSize: 224, takesSize: { tiny.takes(imageSize: $0) },
            buildForSize: { MaxVit(tiny, imageSize: IntPair($1), numClasses: $0) })
    ]
}
