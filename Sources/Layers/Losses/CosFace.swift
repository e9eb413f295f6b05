import Tensors

/// Cross-entropy of scaled cosines where the label's must win by a margin: the label's logit is `s (cos θ - m)`, the
/// others' are `s cos θ`. "CosFace: Large Margin Cosine Loss for Deep Face Recognition", arXiv 1801.09414.
public struct CosFace: TrainingLoss {
    /// `s`.
    public let scale: Float
    /// `m`, in units of the cosine.
    public let margin: Float
    /// The share of each target that goes to all classes alike, in [0, 1].
    public let labelSmoothing: Float

    public init(scale: Float = 64, margin: Float = 0.35, labelSmoothing: Float = 0) {
        precondition(scale > 0, "CosFace: scale \(scale)")
        precondition(0...1 ~= labelSmoothing, "CosFace: label smoothing \(labelSmoothing)")
        self.scale = scale
        self.margin = margin
        self.labelSmoothing = labelSmoothing
    }

    public var input: LossInput { .logits }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        let classes = checkedSize("CosFace", output, labels: labels, classes: output.shape.last).columns
        return ((output - atLabels(margin, labels, classes: classes)) * scale).crossEntropy(
            labels, labelSmoothing: labelSmoothing)
    }
}
