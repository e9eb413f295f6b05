// ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, arXiv 1807.11164. As torchvision's
// models/shufflenetv2.py; the parameters start as PyTorch's layers do.
import Layers
import Tensors

/// ShuffleNet V2: `[N, H, W, 3]` to `[N, classes]`.
public final class ShuffleNetV2: Module, FunctionalPooling {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        /// Channels of the stages 2, 3 and 4.
        public var widths: [Int]
        /// Channels of the last convolution.
        public var lastChannels: Int
    }

    /// Blocks in the stages 2, 3 and 4.
    private static let depths = [4, 8, 4]

    public var gemPooling: GeMPool2d? {
        didSet { invalidatePlans() }
    }

    @Child public var conv1: Module
    @Child public var maxpool: Module
    @Child public var stage2: Module
    @Child public var stage3: Module
    @Child public var stage4: Module
    @Child public var conv5: Module
    @Child public var fc: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        var channels = 24
        func stage(_ index: Int) -> Sequential {
            let width = config.widths[index]
            let blocks = (0..<Self.depths[index]).map { block in
                defer { channels = width }
                return InvertedResidual(channels, width, stride: block == 0 ? 2 : 1)
            }
            return Sequential(blocks)
        }
        conv1 = Conv2dNormActivation(3, channels, stride: 2)
        maxpool = MaxPool2d(kernelSize: 3, stride: 2, padding: 1)
        stage2 = stage(0)
        stage3 = stage(1)
        stage4 = stage(2)
        conv5 = Conv2dNormActivation(channels, config.lastChannels, kernelSize: 1)
        fc = Linear(config.lastChannels, numClasses)
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        fc(pooled(conv5(stage4(stage3(stage2(maxpool(conv1(x))))))))
    }
}

/// Two branches whose channels are interleaved. At stride 1 the first branch is one half of the input's channels
/// unchanged; at stride 2 both branches get the whole input.
private final class InvertedResidual: Module {
    @Child var branch1: Module
    @Child var branch2: Module
    private let splitsInput: Bool

    init(_ inChannels: Int, _ outChannels: Int, stride: Int) {
        let half = outChannels / 2
        splitsInput = stride == 1
        precondition(!splitsInput || inChannels == 2 * half, "ShuffleNetV2: a block of stride 1 keeps its channels")
        func depthwise(_ channels: Int) -> Conv2d {
            Conv2d(
                channels, channels, kernelSize: 3, stride: IntPair(stride), padding: 1, groups: channels, bias: false)
        }
        branch1 =
            splitsInput
            ? Sequential()
            : Sequential(
                depthwise(inChannels),
                BatchNorm2d(inChannels),
                Conv2d(inChannels, half, kernelSize: 1, bias: false),
                BatchNorm2d(half),
                ReLU())
        branch2 = Sequential(
            Conv2d(splitsInput ? half : inChannels, half, kernelSize: 1, bias: false),
            BatchNorm2d(half),
            ReLU(),
            depthwise(half),
            BatchNorm2d(half),
            Conv2d(half, half, kernelSize: 1, bias: false),
            BatchNorm2d(half),
            ReLU())
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        guard splitsInput else { return Tensor.concatenatedChannels(branch1(x), branch2(x)).channelsShuffled() }
        let channels = x.shape[3]
        let kept = x.sliced(axis: -1, 0..<channels / 2)
        let changed = branch2(x.sliced(axis: -1, channels / 2..<channels))
        return Tensor.concatenatedChannels(kept, changed).channelsShuffled()
    }
}

extension Tensor {
    /// The two halves of the channels interleaved: `[N, H, W, C]` to the same shape.
    fileprivate func channelsShuffled() -> Tensor {
        let (n, h, w, c) = (shape[0], shape[1], shape[2], shape[3])
        return reshaped([n, h, w, 2, c / 2]).permuted([0, 1, 2, 4, 3]).reshaped([n, h, w, c])
    }
}

extension ShuffleNetV2 {
    static let configs: [(name: String, config: Config)] = [
        ("shufflenet_v2_x0_5", Config(widths: [48, 96, 192], lastChannels: 1024)),
        ("shufflenet_v2_x1_0", Config(widths: [116, 232, 464], lastChannels: 1024)),
        ("shufflenet_v2_x1_5", Config(widths: [176, 352, 704], lastChannels: 1024)),
        ("shufflenet_v2_x2_0", Config(widths: [244, 488, 976], lastChannels: 2048)),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(name: name, inputSize: 224) { ShuffleNetV2(config, numClasses: $0) }
    }
}
