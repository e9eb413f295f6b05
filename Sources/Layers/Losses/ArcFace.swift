import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Cross-entropy of scaled cosines where the label's angle must win by a margin: the label's logit is `s cos(θ + m)`,
/// the others' are `s cos θ`. "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", arXiv 1801.07698.
///
/// `cos(θ + m)` falls in θ only while `θ + m ≤ π`. Beyond that, as in the authors' code, the label's cosine is
/// `cos θ - m sin m`; with `easyMargin` the margin acts only where `cos θ > 0`, and other cosines stay as they are.
public struct ArcFace: TrainingLoss {
    /// `s`.
    public let scale: Float
    /// `m`, in radians.
    public let margin: Float
    public let easyMargin: Bool
    /// The share of each target that goes to all classes alike, in [0, 1].
    public let labelSmoothing: Float

    /// How far the label's cosine is kept from ±1 within `cos(θ + m)`, whose gradient is infinite there.
    static let distanceFromPoles: Float = 1e-6

    public init(scale: Float = 64, margin: Float = 0.5, easyMargin: Bool = false, labelSmoothing: Float = 0) {
        precondition(scale > 0, "ArcFace: scale \(scale)")
        precondition(0 <= margin && margin < .pi, "ArcFace: margin \(margin), which is no angle below π")
        precondition(0...1 ~= labelSmoothing, "ArcFace: label smoothing \(labelSmoothing)")
        self.scale = scale
        self.margin = margin
        self.easyMargin = easyMargin
        self.labelSmoothing = labelSmoothing
    }

    public var input: LossInput { .logits }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        let (rows, classes) = checkedSize("ArcFace", output, labels: labels, classes: output.shape.last)
        let cosine = output.picking(labels)
        let shift = (withMargin(cosine) - cosine).reshaped([rows, 1])
        return ((output + shift * atLabels(1, labels, classes: classes)) * scale).crossEntropy(
            labels, labelSmoothing: labelSmoothing)
    }

    /// The label's cosines `[N]` with the margin.
    private func withMargin(_ cosine: Tensor) -> Tensor {
        let bound = 1 - Self.distanceFromPoles
        let bounded = cosine.clamped(low: -bound, high: bound)
        let sine = (1 - bounded.squared()).squareRoot()
        let moved = bounded * cos(margin) - sine * sin(margin)
        let lowest = easyMargin ? 0 : cos(.pi - margin)
        let moves = Tensor(cosine.scalars.map { $0 > lowest ? 1 : 0 }, shape: cosine.shape)
        let others = easyMargin ? cosine : cosine - margin * sin(margin)
        return moved * moves + others * (1 - moves)
    }
}
