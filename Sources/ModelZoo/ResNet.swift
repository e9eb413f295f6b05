// ResNet: Deep Residual Learning for Image Recognition, arXiv 1512.03385; ResNeXt: arXiv 1611.05431; Wide ResNet:
// arXiv 1605.07146. As torchvision's models/resnet.py: the stride of a bottleneck is in its 3 x 3 convolution ("V1.5").
import Layers
import Tensors

/// ResNet, ResNeXt and Wide ResNet: `[N, H, W, 3]` to `[N, classes]`.
public final class ResNet: Module {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        public enum Block: Sendable { case basic, bottleneck }
        public var block: Block
        /// Blocks in each of the four stages.
        public var depths: [Int]
        /// Groups of the bottlenecks' 3 x 3 convolutions.
        public var groups: Int
        /// Channels of each group, for a stage of 64.
        public var widthPerGroup: Int

        public init(block: Block, depths: [Int], groups: Int = 1, widthPerGroup: Int = 64) {
            precondition(depths.count == 4, "ResNet: \(depths.count) stages, expected 4")
            self.block = block
            self.depths = depths
            self.groups = groups
            self.widthPerGroup = widthPerGroup
        }
    }

    @Child public var conv1: Module
    @Child public var bn1: Module
    @Child public var relu: Module
    @Child public var maxpool: Module
    @Child public var layer1: Module
    @Child public var layer2: Module
    @Child public var layer3: Module
    @Child public var layer4: Module
    @Child public var avgpool: Module
    @Child public var fc: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        var inChannels = 64
        func stage(_ index: Int) -> Sequential {
            let width = 64 << index
            let blocks = (0..<config.depths[index]).map { block -> Module in
                let stride = block == 0 && index > 0 ? 2 : 1
                defer { inChannels = width * config.block.expansion }
                switch config.block {
                case .basic:
                    return BasicBlock(inChannels, width, stride: stride)
                case .bottleneck:
                    return Bottleneck(
                        inChannels, width, stride: stride, groups: config.groups,
                        widthPerGroup: config.widthPerGroup)
                }
            }
            return Sequential(blocks)
        }
        conv1 = Conv2d(3, 64, kernelSize: 7, stride: 2, padding: 3, bias: false)
        bn1 = BatchNorm2d(64)
        relu = ReLU()
        maxpool = MaxPool2d(kernelSize: 3, stride: 2, padding: 1)
        layer1 = stage(0)
        layer2 = stage(1)
        layer3 = stage(2)
        layer4 = stage(3)
        avgpool = AdaptiveAvgPool2d(1)
        fc = Linear(inChannels, numClasses)
        super.init()
        for case let convolution as Conv2d in modules { convolution.weight.initialize(.kaimingNormal(.out)) }
    }

    public override func forward(_ x: Tensor) -> Tensor {
        let stem = maxpool(bn1(conv1(x), then: relu))
        let features = layer4(layer3(layer2(layer1(stem))))
        return fc(avgpool(features).flattenedChannelsFirst())
    }
}

extension ResNet.Config.Block {
    /// A block's output channels for each of its width.
    var expansion: Int { self == .basic ? 1 : 4 }
}

/// Two 3 x 3 convolutions beside a shortcut.
final class BasicBlock: Module {
    @Child var conv1: Module
    @Child var bn1: Module
    @Child var relu: Module
    @Child var conv2: Module
    @Child var bn2: Module
    @Child var downsample: Module?

    init(_ inChannels: Int, _ width: Int, stride: Int) {
        conv1 = Conv2d(inChannels, width, kernelSize: 3, stride: IntPair(stride), padding: 1, bias: false)
        bn1 = BatchNorm2d(width)
        relu = ReLU()
        conv2 = Conv2d(width, width, kernelSize: 3, padding: 1, bias: false)
        bn2 = BatchNorm2d(width)
        downsample = shortcut(inChannels, width, stride: stride)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let branch = bn2(conv2(bn1(conv1(x), then: relu)))
        return relu(branch + (downsample?(x) ?? x))
    }
}

/// A 3 x 3 convolution between two 1 x 1 convolutions, beside a shortcut.
final class Bottleneck: Module {
    @Child var conv1: Module
    @Child var bn1: Module
    @Child var conv2: Module
    @Child var bn2: Module
    @Child var conv3: Module
    @Child var bn3: Module
    @Child var relu: Module
    @Child var downsample: Module?

    init(_ inChannels: Int, _ width: Int, stride: Int, groups: Int, widthPerGroup: Int) {
        let inner = width * widthPerGroup / 64 * groups
        let outChannels = width * ResNet.Config.Block.bottleneck.expansion
        conv1 = Conv2d(inChannels, inner, kernelSize: 1, bias: false)
        bn1 = BatchNorm2d(inner)
        conv2 = Conv2d(
            inner, inner, kernelSize: 3, stride: IntPair(stride), padding: 1, groups: groups, bias: false)
        bn2 = BatchNorm2d(inner)
        conv3 = Conv2d(inner, outChannels, kernelSize: 1, bias: false)
        bn3 = BatchNorm2d(outChannels)
        relu = ReLU()
        downsample = shortcut(inChannels, outChannels, stride: stride)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let reduced = bn1(conv1(x), then: relu)
        let branch = bn3(conv3(bn2(conv2(reduced), then: relu)))
        return relu(branch + (downsample?(x) ?? x))
    }
}

/// A projection where a block changes the shape, or else nothing.
private func shortcut(_ inChannels: Int, _ outChannels: Int, stride: Int) -> Module? {
    guard stride != 1 || inChannels != outChannels else { return nil }
    return Sequential(
        Conv2d(inChannels, outChannels, kernelSize: 1, stride: IntPair(stride), bias: false),
        BatchNorm2d(outChannels))
}

extension ResNet {
    static let configs: [(name: String, config: Config)] = [
        ("resnet18", Config(block: .basic, depths: [2, 2, 2, 2])),
        ("resnet34", Config(block: .basic, depths: [3, 4, 6, 3])),
        ("resnet50", Config(block: .bottleneck, depths: [3, 4, 6, 3])),
        ("resnet101", Config(block: .bottleneck, depths: [3, 4, 23, 3])),
        ("resnet152", Config(block: .bottleneck, depths: [3, 8, 36, 3])),
        ("resnext50_32x4d", Config(block: .bottleneck, depths: [3, 4, 6, 3], groups: 32, widthPerGroup: 4)),
        ("resnext101_32x8d", Config(block: .bottleneck, depths: [3, 4, 23, 3], groups: 32, widthPerGroup: 8)),
        ("resnext101_64x4d", Config(block: .bottleneck, depths: [3, 4, 23, 3], groups: 64, widthPerGroup: 4)),
        ("wide_resnet50_2", Config(block: .bottleneck, depths: [3, 4, 6, 3], widthPerGroup: 128)),
        ("wide_resnet101_2", Config(block: .bottleneck, depths: [3, 4, 23, 3], widthPerGroup: 128)),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(name: name, inputSize: 224) { ResNet(config, numClasses: $0) }
    }
}
