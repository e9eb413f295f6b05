import Tensors

/// Cross-entropy of scaled cosines, `-log softmax(s cos θ)[label]`: "NormFace: L2 Hypersphere Embedding for Face
/// Verification", arXiv 1704.06369; "Classification is a Strong Baseline for Deep Metric Learning", arXiv 1811.12649.
public struct NormalizedSoftmax: TrainingLoss {
    /// `s`, the inverse of the temperature.
    public let scale: Float
    /// The share of each target that goes to all classes alike, in [0, 1].
    public let labelSmoothing: Float

    public init(scale: Float = 16, labelSmoothing: Float = 0) {
        precondition(scale > 0, "NormalizedSoftmax: scale \(scale)")
        precondition(0...1 ~= labelSmoothing, "NormalizedSoftmax: label smoothing \(labelSmoothing)")
        self.scale = scale
        self.labelSmoothing = labelSmoothing
    }

    public var input: LossInput { .logits }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        (output * scale).crossEntropy(labels, labelSmoothing: labelSmoothing)
    }
}
