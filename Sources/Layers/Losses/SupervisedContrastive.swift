import Tensors

/// Each sample should find its companions among all others of the batch: "Supervised Contrastive Learning",
/// arXiv 2004.11362, the loss `L_out` of its equation 2, as a mean over the samples:
///
///     -1/|P(i)| Σ over p in P(i) of log(exp(zᵢ·zₚ / τ) / Σ over a ≠ i of exp(zᵢ·zₐ / τ))
///
/// with `P(i)` the other samples of the label of `i`. Samples without a companion do not count in the mean; of a batch
/// of such samples the loss and its gradient are zero.
public struct SupervisedContrastive: TrainingLoss {
    /// `τ`.
    public let temperature: Float

    public init(temperature: Float = 0.1) {
        precondition(temperature > 0, "SupervisedContrastive: temperature \(temperature)")
        self.temperature = temperature
    }

    public var input: LossInput { .embeddings }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        let rows = checkedSize("SupervisedContrastive", output, labels: labels).rows
        let companions = labels.reduce(into: [Int: Int]()) { $0[$1, default: -1] += 1 }
        let counted = labels.count(where: { companions[$0]! > 0 })
        guard counted > 0 else { return output.sum() * 0 }
        let itself = Tensor(shape: [rows, rows]) { target in
            target.initialize(repeating: 0)
            for row in 0..<rows { target[row * rows + row] = excluded }
        }
        let weights = Tensor(shape: [rows, rows]) { target in
            for index in target.indices {
                let (row, other) = index.quotientAndRemainder(dividingBy: rows)
                let isCompanion = row != other && labels[row] == labels[other]
                target.initializeElement(
                    at: index, to: isCompanion ? -1 / Float(companions[labels[row]]! * counted) : 0)
            }
        }
        return ((output.linear(output) * (1 / temperature) + itself).logSoftmax() * weights).sum()
    }
}
