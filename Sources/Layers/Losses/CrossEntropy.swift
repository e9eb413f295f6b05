import Tensors

/// Cross-entropy of the classifier's output as it is, `-log softmax(x)[label]`: the loss of the reference's training
/// scripts (`torch.nn.functional.cross_entropy`).
///
/// On cosines of a normalizing recognizer it cannot become small: with K classes it stays above
/// `log(1 + (K - 1) e^-2)`. ``NormalizedSoftmax`` has no such bound.
public struct CrossEntropy: TrainingLoss {
    /// The share of each target that goes to all classes alike, in [0, 1].
    public let labelSmoothing: Float

    public init(labelSmoothing: Float = 0) {
        precondition(0...1 ~= labelSmoothing, "CrossEntropy: label smoothing \(labelSmoothing)")
        self.labelSmoothing = labelSmoothing
    }

    public var input: LossInput { .logits }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        output.crossEntropy(labels, labelSmoothing: labelSmoothing)
    }
}
