import CKernels
import Tensors

/// A convolution or a Linear with what passes merged into it: norms and scales in its weights, and what happens to its
/// rows on the way in and out.
///
/// A node of it reads, in this order: its input; the residual, if there is one; the scales of ``Prologue/imageScale``.
struct Product {
    /// What happens to the rows of the input first; 1 x 1 kernels only.
    enum Prologue {
        case none
        case affine(ChannelAffine)
        /// One scale for each channel of the image: squeeze and excitation.
        case imageScale
        /// Layer norm, then scale and shift where they are given.
        case layerNorm(scale: [Float], shift: [Float], eps: Float)
    }

    /// What the product's values are combined with on their way to memory.
    enum Combine {
        case none
        /// The residual is added before the activation, or behind it.
        case addBefore, addAfter
        /// Each value goes behind the residual's value of the same channel: the shuffle of two halves' channels.
        case interleave

        var kernel: ck_combine {
            switch self {
            case .none: CK_COMBINE_NONE
            case .addBefore: CK_COMBINE_ADD_BEFORE
            case .addAfter: CK_COMBINE_ADD_AFTER
            case .interleave: CK_COMBINE_INTERLEAVE
            }
        }
    }

    /// Kernel 1 x 1 for a Linear.
    let geometry: Conv2dGeometry
    var weights: ProductWeights
    var prologue = Prologue.none
    var activation: Activation?
    var combine = Combine.none
    /// What taps beyond the image read, for each channel, where that is not 0.
    var padding: [Float]?
    /// The row of the input of each row of the product, -1 for zeros; of the output likewise, -1 for none.
    var inputRows: [Int32]?
    var outputRows: [Int32]?

    var hasResidual: Bool { combine != .none }

    /// Whether each output row depends on one input row, the same one unless ``inputRows`` says otherwise.
    var isPointwise: Bool {
        geometry.kernel == (1, 1) && geometry.strideHeight == 1 && geometry.strideWidth == 1
            && geometry.padHeight == 0 && geometry.padWidth == 0 && geometry.groups == 1
    }

    private var isPadded: Bool { geometry.padHeight > 0 || geometry.padWidth > 0 }

    /// Multiplies a scale and shift of each channel of the input into the weights and the bias.
    ///
    /// - Returns: whether that is possible, and good: with padding, which must then read what the affine makes zero of, only
    ///   the kernel for the first layers of networks comes into question.
    mutating func absorbBefore(_ affine: ChannelAffine) -> Bool {
        guard !affine.hasReLU, geometry.groups == 1, padding == nil, case .none = prologue, inputRows == nil,
            isPointwise || weights.inputs < 16
        else { return false }
        if isPadded {
            let padding = zip(affine.scale, affine.shift).map { -$1 / $0 }
            guard padding.allSatisfy(\.isFinite) else { return false }
            if padding.contains(where: { $0 != 0 }) { self.padding = padding }
        }
        weights.scaleInputs(affine.scale, shift: affine.shift)
        return true
    }

    /// Whether nothing happens to the sums but the bias, so that a factor can still go into the weights.
    var isBare: Bool { activation == nil && combine == .none }

    var isDepthwise: Bool { geometry.groups > 1 && weights.base.shape[3] == 1 && weights.outputs == geometry.groups }

    /// The multiply-adds of one image, for output rows of this number.
    func multiplyAdds(rows: Int) -> Int { rows * weights.base.count }
}

/// The weights of a product: a parameter's, and the factors that passes merged into them, multiplied in when the
/// weights are packed.
struct ProductWeights {
    /// `[O, kH, kW, C / groups]`, or `[O, I]` of a Linear.
    var base: Tensor
    /// A factor for each output, a factor for each input channel; `nil` for none.
    private(set) var outputScale: [Float]?
    private(set) var inputScale: [Float]?
    /// Where the input that the weights mean lies in memory: input i of the product is input `order[i]` of `base`.
    private(set) var inputOrder: [Int]?
    private(set) var bias: [Float]?
    /// A hash of each factor that went into the weights: equal weights of one `base` have equal ones.
    private(set) var factors: [Int] = []

    init(_ base: Tensor, bias: Tensor?) {
        self.base = base
        self.bias = bias?.scalars
    }

    var outputs: Int { base.shape[0] }
    /// Elements of one output's weights.
    var depth: Int { base.count / max(1, outputs) }
    /// Channels that one output reads.
    var inputs: Int { base.shape.last! }

    /// `scale (w x + b) + shift` for `w x + b`.
    mutating func scaleOutputs(_ scale: [Float], shift: [Float]) {
        outputScale = outputScale.map { zip($0, scale).map { $0 * $1 } } ?? scale
        bias = (bias ?? [Float](repeating: 0, count: outputs)).indices.map { (bias?[$0] ?? 0) * scale[$0] + shift[$0] }
        factors.append(scale.hashValue)
    }

    /// `w (scale x + shift) + b` for `w x + b`, where every output sees every input.
    mutating func scaleInputs(_ scale: [Float], shift: [Float]) {
        let folded = values()
        var extra = [Float](repeating: 0, count: outputs)
        for output in 0..<outputs {
            var sum = 0.0
            for input in 0..<depth { sum += Double(folded[output * depth + input]) * Double(shift[input % inputs]) }
            extra[output] = Float(sum)
        }
        bias = bias.map { zip($0, extra).map { $0 + $1 } } ?? extra
        inputScale = inputScale.map { zip($0, scale).map { $0 * $1 } } ?? scale
        factors.append(scale.hashValue)
    }

    /// Takes the inputs in another order: see ``inputOrder``.
    mutating func reorderInputs(_ order: [Int]) {
        precondition(inputOrder == nil && inputScale == nil, "ProductWeights: inputs in a third order")
        inputOrder = order
        factors.append(order.hashValue)
    }

    /// The weights with everything multiplied in, in `base`'s layout.
    func values() -> [Float] {
        base.withUnsafeScalars { source in
            guard outputScale != nil || inputScale != nil || inputOrder != nil else { return Array(source) }
            return [Float](unsafeUninitializedCapacity: source.count) { target, count in
                let target = target.baseAddress!, source = source.baseAddress!
                let (depth, inputs) = (depth, inputs)
                parallelFor(outputs, grain: rowGrain(depth)) { begin, end in
                    for output in begin..<end {
                        let (to, from) = (target + output * depth, source + output * depth)
                        if let inputOrder {
                            for index in 0..<depth { to[index] = from[inputOrder[index]] }
                        } else {
                            to.initialize(from: from, count: depth)
                        }
                        if let scale = outputScale?[output] {
                            ck_affine_f32(scale, 0, to, to, Int64(depth))
                        }
                        if let inputScale {
                            for index in 0..<depth { to[index] *= inputScale[index % inputs] }
                        }
                    }
                }
                count = outputs * depth
            }
        }
    }

    /// Calls `body` with the weights with everything multiplied in, without a copy where nothing is.
    func withValues<R>(_ body: (UnsafePointer<Float>) -> R) -> R {
        if outputScale == nil && inputScale == nil && inputOrder == nil {
            return base.withUnsafeScalars { body($0.baseAddress!) }
        }
        return values().withUnsafeBufferPointer { body($0.baseAddress!) }
    }
}

/// `scale[c] x + shift[c]`, then perhaps the maximum with 0.
struct ChannelAffine {
    var scale: [Float]
    var shift: [Float]
    var hasReLU = false

    /// This behind another one.
    func after(_ first: ChannelAffine) -> ChannelAffine {
        ChannelAffine(
            scale: zip(scale, first.scale).map { $0 * $1 },
            shift: zip(zip(scale, first.shift), shift).map { $0.0 * $0.1 + $1 }, hasReLU: hasReLU)
    }
}
