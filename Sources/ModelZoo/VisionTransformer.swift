// Vision Transformer: An Image is Worth 16x16 Words, arXiv 2010.11929. As torchvision's models/vision_transformer.py,
// without what no published weights use: dropout, a representation layer, a convolutional stem.
import Layers
import Tensors

/// Vision Transformer: `[N, S, S, 3]` to `[N, classes]`, for images of the size S that it is built for.
public final class VisionTransformer: Module {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        /// The side of a patch, in pixels.
        public var patchSize: Int
        public var layers: Int
        public var heads: Int
        /// Channels of a token.
        public var width: Int
        /// Channels between the two layers of a perceptron.
        public var hiddenWidth: Int
    }

    /// The side of the images that the model takes, in pixels.
    public let imageSize: Int
    /// The side of a patch, in pixels.
    public let patchSize: Int
    /// `[1, 1, C]`.
    public let classToken: Parameter
    @Child public var convProj: Module
    @Child public var encoder: Module
    @Child public var heads: Module

    /// - Precondition: `imageSize` is a multiple of the patch size.
    public init(_ config: Config, imageSize: Int = 224, numClasses: Int = 1000) {
        precondition(
            imageSize > 0 && imageSize % config.patchSize == 0,
            "VisionTransformer: an image size of \(imageSize) is no multiple of the patch size \(config.patchSize)")
        self.imageSize = imageSize
        patchSize = config.patchSize
        let side = imageSize / config.patchSize
        classToken = Parameter(key: "class_token", shape: [1, 1, config.width], initializer: .zeros)
        let projection = Conv2d(
            3, config.width, kernelSize: IntPair(config.patchSize), stride: IntPair(config.patchSize))
        let fanIn = 3 * config.patchSize * config.patchSize
        projection.weight.initialize(.truncatedNormal(std: (1 / Float(fanIn)).squareRoot()))
        projection.bias?.initialize(.zeros)
        _convProj = Child(wrappedValue: projection, key: "conv_proj")
        encoder = Encoder(config, tokens: side * side + 1)
        let head = Linear(config.width, numClasses)
        head.weight.initialize(.zeros)
        head.bias?.initialize(.zeros)
        heads = Sequential(named: [("head", head)])
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        precondition(
            x.rank == 4 && x.shape[1] == imageSize && x.shape[2] == imageSize,
            "VisionTransformer: an input of shape \(x.shape), but this model was built for images of \(imageSize) x "
                + "\(imageSize) pixels: resize them, or build it with another imageSize")
        let patches = convProj(x)
        let (batch, width) = (patches.shape[0], patches.shape[3])
        let tokens = Tensor.concatenated(
            [classToken.value.expanded(to: [batch, 1, width]), patches.reshaped([batch, -1, width])], axis: 1)
        return heads(encoder(tokens).sliced(axis: 1, 0..<1).reshaped([batch, width]))
    }
}

/// Position embedding, blocks and a layer norm: `[N, L, C]` to the same shape.
private final class Encoder: Module {
    /// `[1, L, C]`.
    let positionEmbedding: Parameter
    @Child var layers: Module
    @Child var ln: Module

    init(_ config: VisionTransformer.Config, tokens: Int) {
        positionEmbedding = Parameter(
            key: "pos_embedding", shape: [1, tokens, config.width], initializer: .normal(std: 0.02))
        layers = Sequential(named: (0..<config.layers).map { ("encoder_layer_\($0)", EncoderBlock(config)) })
        ln = LayerNorm(config.width, eps: 1e-6)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { ln(layers(x + positionEmbedding.value)) }
}

/// Attention and a perceptron, each behind a layer norm and beside a shortcut.
private final class EncoderBlock: Module {
    @Child var ln1: Module
    @Child var selfAttention: Module
    @Child var ln2: Module
    @Child var mlp: Module

    init(_ config: VisionTransformer.Config) {
        _ln1 = Child(wrappedValue: LayerNorm(config.width, eps: 1e-6), key: "ln_1")
        _selfAttention = Child(
            wrappedValue: MultiheadAttention(config.width, heads: config.heads), key: "self_attention")
        _ln2 = Child(wrappedValue: LayerNorm(config.width, eps: 1e-6), key: "ln_2")
        let perceptron = MLP(config.width, hidden: config.hiddenWidth)
        for case let linear as Linear in perceptron.modules {
            linear.weight.initialize(.xavierUniform)
            linear.bias?.initialize(.normal(std: 1e-6))
        }
        mlp = perceptron
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let attended = x + selfAttention(ln1(x))
        return attended + mlp(ln2(attended))
    }
}

extension VisionTransformer {
    static let configs: [(name: String, config: Config)] = [
        ("vit_b_16", Config(patchSize: 16, layers: 12, heads: 12, width: 768, hiddenWidth: 3072)),
        ("vit_b_32", Config(patchSize: 32, layers: 12, heads: 12, width: 768, hiddenWidth: 3072)),
        ("vit_l_16", Config(patchSize: 16, layers: 24, heads: 16, width: 1024, hiddenWidth: 4096)),
        ("vit_l_32", Config(patchSize: 32, layers: 24, heads: 16, width: 1024, hiddenWidth: 4096)),
        ("vit_h_14", Config(patchSize: 14, layers: 32, heads: 16, width: 1280, hiddenWidth: 5120)),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(
            name: name, inputSize: 224, takesSize: { $0 > 0 && $0 % config.patchSize == 0 },
            buildForSize: { VisionTransformer(config, imageSize: $1, numClasses: $0) })
    }
}
