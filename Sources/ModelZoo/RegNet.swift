// RegNet: Designing Network Design Spaces, arXiv 2003.13678. As torchvision's models/regnet.py.
import Layers
import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// RegNetX and, with squeeze-and-excitation, RegNetY: `[N, H, W, 3]` to `[N, classes]`.
public final class RegNet: Module {
    /// What tells one network of the family from another: the paper's parameters of a quantized linear function that
    /// gives each block its width.
    public struct Config: Sendable {
        /// The number of blocks, d.
        public var depth: Int
        /// The width of the first block, w₀.
        public var initialWidth: Int
        /// How much wider each block is than the one before it, before quantization, wₐ.
        public var slope: Double
        /// The factor between the widths of neighbouring stages, wₘ.
        public var multiplier: Double
        /// Channels of each group of the 3 x 3 convolutions.
        public var groupWidth: Int
        /// Channels between the two layers of a squeeze-and-excitation for each of the block's input channels; `nil`
        /// leaves it out.
        public var squeezeRatio: Double?
    }

    /// Blocks of one width; the first has stride 2.
    struct Stage {
        let width: Int
        let blocks: Int
        let groupWidth: Int
    }

    @Child public var stem: Module
    @Child public var trunk_output: Module
    @Child public var avgpool: Module
    @Child public var fc: Module

    public init(_ config: Config, numClasses: Int = 1000) {
        var channels = 32
        stem = Conv2dNormActivation(3, channels, stride: 2)
        let stages = config.stages.enumerated().map { index, stage -> (name: String, module: Module) in
            let blocks = (0..<stage.blocks).map { block -> (name: String, module: Module) in
                defer { channels = stage.width }
                let module = ResBottleneckBlock(
                    channels, stage.width, stride: block == 0 ? 2 : 1, groupWidth: stage.groupWidth,
                    squeezeRatio: config.squeezeRatio)
                return ("block\(index + 1)-\(block)", module)
            }
            return ("block\(index + 1)", Sequential(named: blocks))
        }
        trunk_output = Sequential(named: stages)
        avgpool = AdaptiveAvgPool2d(1)
        fc = Linear(channels, numClasses)
        super.init()
        initialize(
            convolutions: LayerRecipe(weight: .kaimingNormal(.out)),
            linears: LayerRecipe(weight: .normal(std: 0.01), bias: .zeros))
    }

    public override func forward(_ x: Tensor) -> Tensor {
        fc(avgpool(trunk_output(stem(x))).flattenedChannelsFirst())
    }
}

extension RegNet.Config {
    /// The stages that the parameters stand for: each block's width is rounded to a power of the multiplier, then to a
    /// multiple of 8, and blocks of one width make a stage; at last the groups must divide the widths.
    var stages: [RegNet.Stage] {
        let first = Double(initialWidth)
        let widths = (0..<depth).map { block in
            let exponent = (log((first + slope * Double(block)) / first) / log(multiplier)).rounded(.toNearestOrEven)
            return Int((first * pow(multiplier, exponent) / 8).rounded(.toNearestOrEven)) * 8
        }
        var stages: [(width: Int, blocks: Int)] = []
        for width in widths {
            if stages.last?.width != width { stages.append((width, 0)) }
            stages[stages.count - 1].blocks += 1
        }
        return stages.map { width, blocks in
            let groupWidth = min(groupWidth, width)
            return RegNet.Stage(
                width: makeDivisible(Double(width), by: groupWidth), blocks: blocks, groupWidth: groupWidth)
        }
    }
}

/// A grouped 3 x 3 convolution between two 1 x 1 convolutions of the same width, beside a shortcut.
private final class ResBottleneckBlock: Module {
    @Child var proj: Module?
    @Child var f: Module
    @Child var activation: Module

    init(_ inChannels: Int, _ width: Int, stride: Int, groupWidth: Int, squeezeRatio: Double?) {
        let changesShape = inChannels != width || stride != 1
        proj =
            changesShape
            ? Conv2dNormActivation(inChannels, width, kernelSize: 1, stride: stride, activation: nil) : nil
        let branch = Sequential(named: [
            ("a", Conv2dNormActivation(inChannels, width, kernelSize: 1)),
            ("b", Conv2dNormActivation(width, width, stride: stride, groups: width / groupWidth)),
        ])
        if let squeezeRatio {
            let squeezed = Int((squeezeRatio * Double(inChannels)).rounded(.toNearestOrEven))
            branch.append(SqueezeExcitation(width, squeezed: squeezed), name: "se")
        }
        branch.append(Conv2dNormActivation(width, width, kernelSize: 1, activation: nil), name: "c")
        f = branch
        activation = ReLU()
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { activation((proj?(x) ?? x) + f(x)) }
}

extension RegNet {
    private static func x(
        _ depth: Int, _ initialWidth: Int, _ slope: Double, _ multiplier: Double, groupWidth: Int
    ) -> Config {
        Config(
            depth: depth, initialWidth: initialWidth, slope: slope, multiplier: multiplier, groupWidth: groupWidth)
    }

    private static func y(
        _ depth: Int, _ initialWidth: Int, _ slope: Double, _ multiplier: Double, groupWidth: Int
    ) -> Config {
        Config(
            depth: depth, initialWidth: initialWidth, slope: slope, multiplier: multiplier, groupWidth: groupWidth,
            squeezeRatio: 0.25)
    }

    /// Depth, initial width, slope and multiplier, as in the paper's tables.
    static let configs: [(name: String, config: Config)] = [
        ("regnet_x_400mf", x(22, 24, 24.48, 2.54, groupWidth: 16)),
        ("regnet_x_800mf", x(16, 56, 35.73, 2.28, groupWidth: 16)),
        ("regnet_x_1_6gf", x(18, 80, 34.01, 2.25, groupWidth: 24)),
        ("regnet_x_3_2gf", x(25, 88, 26.31, 2.25, groupWidth: 48)),
        ("regnet_x_8gf", x(23, 80, 49.56, 2.88, groupWidth: 120)),
        ("regnet_x_16gf", x(22, 216, 55.59, 2.1, groupWidth: 128)),
        ("regnet_x_32gf", x(23, 320, 69.86, 2.0, groupWidth: 168)),
        ("regnet_y_400mf", y(16, 48, 27.89, 2.09, groupWidth: 8)),
        ("regnet_y_800mf", y(14, 56, 38.84, 2.4, groupWidth: 16)),
        ("regnet_y_1_6gf", y(27, 48, 20.71, 2.65, groupWidth: 24)),
        ("regnet_y_3_2gf", y(21, 80, 42.63, 2.66, groupWidth: 24)),
        ("regnet_y_8gf", y(17, 192, 76.82, 2.19, groupWidth: 56)),
        ("regnet_y_16gf", y(18, 200, 106.23, 2.48, groupWidth: 112)),
        ("regnet_y_32gf", y(20, 232, 115.89, 2.53, groupWidth: 232)),
        ("regnet_y_128gf", y(27, 456, 160.83, 2.52, groupWidth: 264)),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(name: name, inputSize: 224) { RegNet(config, numClasses: $0) }
    }
}
