// Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, arXiv 2103.14030; Swin Transformer V2,
// arXiv 2111.09883. As torchvision's models/swin_transformer.py; where that permutes between channels first and last,
// there is an Identity here, because channels are always last. Dropout, which no published weights use, is left out.
import Layers
import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Swin Transformer and Swin Transformer V2: `[N, H, W, 3]` to `[N, classes]`.
public final class SwinTransformer: Module {
    /// What tells one network of the family from another.
    public struct Config: Sendable {
        public enum Version: Sendable {
            case v1
            /// Cosine attention, position biases from a perceptron, and norms behind the branches.
            case v2
        }
        public var version: Version
        /// Channels of the first stage; each stage has twice as many as the one before.
        public var width: Int
        /// Blocks of each stage.
        public var depths: [Int]
        /// Attention heads of each stage.
        public var heads: [Int]
        /// The side of a window, in tokens.
        public var window: Int
        /// The probability of dropping the last block; it grows linearly from 0 at the first.
        public var stochasticDepth: Double
    }

    private static let patchSize = 4

    @Child public var features: Module
    @Child public var norm: Module
    @Child public var permute: Module
    @Child public var avgpool: Module
    @Child public var flatten: Module
    @Child public var head: Module

    /// - Precondition: there are as many `heads` as `depths`.
    public init(_ config: Config, numClasses: Int = 1000) {
        precondition(
            config.depths.count == config.heads.count,
            "SwinTransformer: \(config.depths.count) stages with \(config.heads.count) numbers of heads")
        var channels = config.width
        let patchSize = IntPair(Self.patchSize)
        var layers: [Module] = [
            Sequential(
                Conv2d(3, channels, kernelSize: patchSize, stride: patchSize), Identity(), LayerNorm(channels))
        ]
        let lastBlock = max(1, config.depths.reduce(0, +) - 1)
        var block = 0
        for (stage, depth) in config.depths.enumerated() {
            if stage > 0 {
                layers.append(PatchMerging(channels, version: config.version))
                channels *= 2
            }
            let blocks = (0..<depth).map { index in
                SwinBlock(
                    channels, heads: config.heads[stage], window: config.window,
                    shift: index % 2 == 0 ? 0 : config.window / 2, version: config.version,
                    dropProbability: config.stochasticDepth * Double(block + index) / Double(lastBlock))
            }
            layers.append(Sequential(blocks))
            block += depth
        }
        features = Sequential(layers)
        norm = LayerNorm(channels)
        permute = Identity()
        avgpool = AdaptiveAvgPool2d(1)
        flatten = Flatten()
        head = Linear(channels, numClasses)
        super.init()
        for case let linear as Linear in modules {
            linear.weight.initialize(.truncatedNormal(std: 0.02))
            linear.bias?.initialize(.zeros)
        }
    }

    public override func forward(_ x: Tensor) -> Tensor {
        head(flatten(avgpool(permute(norm(features(x))))))
    }
}

/// Four tokens merged into one of twice the channels: `[N, H, W, C]` to `[N, ⌈H / 2⌉, ⌈W / 2⌉, 2 · C]`.
private final class PatchMerging: Module {
    @Child var reduction: Module
    @Child var norm: Module
    private let version: SwinTransformer.Config.Version

    init(_ channels: Int, version: SwinTransformer.Config.Version) {
        reduction = Linear(4 * channels, 2 * channels, bias: false)
        norm = LayerNorm(version == .v1 ? 4 * channels : 2 * channels)
        self.version = version
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        let merged = x.reshaped([batch, height * width, channels])
            .gatheringRows(.squares(height: height, width: width))
            .reshaped([batch, (height + 1) / 2, (width + 1) / 2, 4 * channels])
        return version == .v1 ? reduction(norm(merged)) : norm(reduction(merged))
    }
}

/// Window attention and a perceptron, each with a layer norm before (in V2 behind) it, beside shortcuts.
private final class SwinBlock: Module {
    @Child var norm1: Module
    @Child var attn: Module
    @Child var stochasticDepth: Module
    @Child var norm2: Module
    @Child var mlp: Module
    private let version: SwinTransformer.Config.Version

    init(
        _ channels: Int, heads: Int, window: Int, shift: Int, version: SwinTransformer.Config.Version,
        dropProbability: Double
    ) {
        norm1 = LayerNorm(channels)
        attn =
            version == .v1
            ? ShiftedWindowAttention(channels, heads: heads, window: window, shift: shift)
            : ShiftedWindowAttentionV2(channels, heads: heads, window: window, shift: shift)
        _stochasticDepth = Child(wrappedValue: StochasticDepth(p: dropProbability), key: "stochastic_depth")
        norm2 = LayerNorm(channels)
        mlp = MLP(channels, hidden: 4 * channels)
        self.version = version
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        switch version {
        case .v1:
            let attended = x + stochasticDepth(attn(norm1(x)))
            return attended + stochasticDepth(mlp(norm2(attended)))
        case .v2:
            let attended = x + stochasticDepth(norm1(attn(x)))
            return attended + stochasticDepth(norm2(mlp(attended)))
        }
    }
}

// MARK: - Window attention

/// Attention within windows of tokens, shifted in every other block: `[N, H, W, C]` to the same shape. What V1 and V2
/// have in common.
private class WindowAttention: Module {
    @Child var qkv: Linear
    @Child var proj: Module
    let heads: Int
    /// The sides of a window and of its shift, in tokens.
    let window: Int
    let shift: Int

    init(_ channels: Int, heads: Int, window: Int, shift: Int) {
        precondition(channels % heads == 0, "window attention: \(channels) channels for \(heads) heads")
        qkv = Linear(channels, 3 * channels)
        proj = Linear(channels, channels)
        self.heads = heads
        self.window = window
        self.shift = shift
        super.init()
    }

    /// Queries, keys and values of tokens `[B, L, C]`, packed: `[B, L, 3 · C]`.
    func project(_ tokens: Tensor) -> Tensor { qkv(tokens) }

    /// Attention of packed projections `[B, L, 3, H, D]` under a mask.
    func attend(_ packed: Tensor, mask: Tensor?) -> Tensor {
        preconditionFailure("\(typeName) has no attend(_:mask:)")
    }

    final override func forward(_ x: Tensor) -> Tensor {
        let (batch, channels) = (x.shape[0], x.shape[3])
        let windows = ShiftedWindows(height: x.shape[1], width: x.shape[2], side: window, shift: shift)
        let tokens = x.reshaped([batch, x.shape[1] * x.shape[2], channels])
            .gatheringRows(windows.tokens)
            .reshaped([batch * windows.count, window * window, channels])
        let packed = project(tokens)
            .reshaped([batch * windows.count, window * window, 3, heads, channels / heads])
        let attended = attend(packed, mask: windows.mask())
            .reshaped([batch, windows.count * window * window, channels])
            .gatheringRows(windows.tokens.inverted)
        return proj(attended.reshaped(x.shape))
    }
}

/// The windows of an image of tokens.
private struct ShiftedWindows {
    /// Which token each place of each window holds.
    let tokens: RowGather
    private let rows: Int
    private let columns: Int
    private let side: Int
    private let shift: (down: Int, right: Int)

    init(height: Int, width: Int, side: Int, shift: Int) {
        rows = height.dividedRoundingUp(by: side)
        columns = width.dividedRoundingUp(by: side)
        self.side = side
        // A single window is not shifted.
        self.shift = (rows > 1 ? shift : 0, columns > 1 ? shift : 0)
        tokens = .windows(height: height, width: width, side: side, shift: self.shift)
    }

    var count: Int { rows * columns }

    /// -100 for the pairs of tokens that the cyclic shift brought together from opposite edges, 0 for the others:
    /// `[windows, L, L]`; `nil` without a shift.
    func mask() -> Tensor? {
        guard shift != (0, 0) else { return nil }
        let length = side * side
        return Tensor(shape: [count, length, length]) { target in
            target.initialize(repeating: 0)
            for row in 0..<rows {
                for column in 0..<columns where row == rows - 1 || column == columns - 1 {
                    // Only the last windows have tokens of more than one region.
                    let regions = (0..<length).map { token in
                        let wrapsDown = row == rows - 1 && token / side >= side - shift.down
                        let wrapsRight = column == columns - 1 && token % side >= side - shift.right
                        return (wrapsDown ? 2 : 0) + (wrapsRight ? 1 : 0)
                    }
                    let start = (row * columns + column) * length * length
                    for query in 0..<length {
                        for key in 0..<length where regions[query] != regions[key] {
                            target[start + query * length + key] = -100
                        }
                    }
                }
            }
        }
    }
}

/// V1: dot products, and a table of biases by relative position.
private final class ShiftedWindowAttention: WindowAttention {
    /// `[(2 · window - 1)², H]`.
    let biasTable: Parameter
    let positionIndex: IntegerBuffer

    override init(_ channels: Int, heads: Int, window: Int, shift: Int) {
        let positions = (2 * window - 1) * (2 * window - 1)
        biasTable = Parameter(
            key: "relative_position_bias_table", shape: [positions, heads], initializer: .truncatedNormal(std: 0.02))
        let index = relativePositionIndex(side: window)
        positionIndex = IntegerBuffer(key: "relative_position_index", index, shape: [index.count])
        super.init(channels, heads: heads, window: window, shift: shift)
    }

    override func attend(_ packed: Tensor, mask: Tensor?) -> Tensor {
        let bias = biasTable.value.relativePositionBias(positionIndex.values, tokens: window * window)
        return packed.attention(scale: 1 / Float(packed.shape[4]).squareRoot(), bias: bias, mask: mask)
    }
}

/// V2: cosines with a learned factor for each head, biases from a perceptron over relative positions, and keys without
/// a bias.
private final class ShiftedWindowAttentionV2: WindowAttention {
    /// The logarithms of the heads' factors: `[H, 1, 1]`.
    let logitScale: Parameter
    /// Relative positions on a logarithmic scale: `[1, 2 · window - 1, 2 · window - 1, 2]`.
    let positions: Buffer
    let positionIndex: IntegerBuffer
    @Child var cpbMLP: Module

    override init(_ channels: Int, heads: Int, window: Int, shift: Int) {
        logitScale = Parameter(key: "logit_scale", shape: [heads, 1, 1], initializer: .constant(log(10)))
        positions = Buffer(key: "relative_coords_table", Self.positionTable(window: window))
        let index = relativePositionIndex(side: window)
        positionIndex = IntegerBuffer(key: "relative_position_index", index, shape: [index.count])
        _cpbMLP = Child(
            wrappedValue: Sequential(Linear(2, 512), ReLU(), Linear(512, heads, bias: false)), key: "cpb_mlp")
        super.init(channels, heads: heads, window: window, shift: shift)
    }

    /// The positions -1 ... 1 of both axes as `sign(p) log2(1 + 8 |p|) / 3`.
    private static func positionTable(window: Int) -> Tensor {
        precondition(window > 1, "SwinTransformer: V2 needs windows of more than one token")
        let side = 2 * window - 1
        let line = (0..<side).map { place -> Float in
            let position = Float(place - (window - 1)) / Float(window - 1) * 8
            return (position < 0 ? -1 : 1) * log2(abs(position) + 1) / 3
        }
        return Tensor(
            (0..<side * side).flatMap { [line[$0 / side], line[$0 % side]] }, shape: [1, side, side, 2])
    }

    override func project(_ tokens: Tensor) -> Tensor {
        let channels = qkv.inFeatures
        let part = [Float](repeating: 1, count: channels)
        let withoutKeys = Tensor(part + part.map { _ in 0 } + part, shape: [3 * channels])
        return tokens.linear(qkv.weight.value, bias: qkv.bias.map { $0.value * withoutKeys })
    }

    override func attend(_ packed: Tensor, mask: Tensor?) -> Tensor {
        let table = cpbMLP(positions.value).reshaped([-1, heads])
        let bias = table.relativePositionBias(positionIndex.values, tokens: window * window).activated(.sigmoid) * 16
        // Factors beyond 100 make the softmax too sharp to train.
        return packed.cosineAttention(
            factors: logitScale.value.clamped(high: log(100)).exp(), bias: bias, mask: mask)
    }
}

// MARK: - Presets

extension SwinTransformer.Config {
    /// Windows of 7 x 7 tokens.
    static func v1(width: Int, depths: [Int], heads: [Int], stochasticDepth: Double) -> Self {
        Self(version: .v1, width: width, depths: depths, heads: heads, window: 7, stochasticDepth: stochasticDepth)
    }

    /// Windows of 8 x 8 tokens.
    static func v2(width: Int, depths: [Int], heads: [Int], stochasticDepth: Double) -> Self {
        Self(version: .v2, width: width, depths: depths, heads: heads, window: 8, stochasticDepth: stochasticDepth)
    }
}

extension SwinTransformer {
    static let configs: [(name: String, config: Config)] = [
        ("swin_t", .v1(width: 96, depths: [2, 2, 6, 2], heads: [3, 6, 12, 24], stochasticDepth: 0.2)),
        ("swin_s", .v1(width: 96, depths: [2, 2, 18, 2], heads: [3, 6, 12, 24], stochasticDepth: 0.3)),
        ("swin_b", .v1(width: 128, depths: [2, 2, 18, 2], heads: [4, 8, 16, 32], stochasticDepth: 0.5)),
        ("swin_v2_t", .v2(width: 96, depths: [2, 2, 6, 2], heads: [3, 6, 12, 24], stochasticDepth: 0.2)),
        ("swin_v2_s", .v2(width: 96, depths: [2, 2, 18, 2], heads: [3, 6, 12, 24], stochasticDepth: 0.3)),
        ("swin_v2_b", .v2(width: 128, depths: [2, 2, 18, 2], heads: [4, 8, 16, 32], stochasticDepth: 0.5)),
    ]

    static let registry = configs.map { name, config in
        ModelRegistry.Entry(name: name, inputSize: config.version == .v1 ? 224 : 256) {
            SwinTransformer(config, numClasses: $0)
        }
    }
}
