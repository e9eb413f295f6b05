import Tensors

/// For each sample, its farthest companion in the batch should be nearer than the nearest stranger, by a margin:
/// `max(0, m + d(a, p) - d(a, n))`, or softly `log(1 + exp(d(a, p) - d(a, n)))`, with Euclidean distances. "In Defense
/// of the Triplet Loss for Person Re-Identification", arXiv 1703.07737.
///
/// Samples without a companion or without a stranger do not count in the mean; of a batch of such samples the loss and
/// its gradient are zero. A sampler of M samples per class keeps batches from being so.
public struct TripletBatchHard: TrainingLoss {
    public enum Margin: Sendable, Hashable {
        /// `m`, in units of the distance.
        case hard(Float)
        /// The softplus in the place of the hinge.
        case soft
    }

    public let margin: Margin

    public init(margin: Margin = .hard(0.2)) {
        self.margin = margin
    }

    public init(margin: Float) { self.init(margin: .hard(margin)) }

    public var input: LossInput { .embeddings }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        let (rows, width) = checkedSize("TripletBatchHard", output, labels: labels)
        let triplets = Self.hardest(output.detached, labels: labels)
        guard !triplets.isEmpty else { return output.sum() * 0 }
        let samples = output.reshaped([1, rows, width])
        func chosen(_ row: KeyPath<Triplet, Int>) -> Tensor {
            samples.gatheringRows(RowGather(triplets.map { $0[keyPath: row] }, of: rows))
        }
        // Distances of differences: from inner products, those of near neighbours would be rounding.
        let anchors = chosen(\.anchor)
        let excess =
            ((anchors - chosen(\.positive)).norm() - (anchors - chosen(\.negative)).norm())
            .reshaped([triplets.count, 1])
        switch margin {
        case .hard(let margin): return (excess + margin).activated(.relu).mean()
        case .soft: return excess.logOnePlusSumExp().mean()
        }
    }

    struct Triplet {
        let anchor: Int
        let positive: Int
        let negative: Int
    }

    /// The farthest sample of the same label and the nearest of another one, for each row that has both.
    private static func hardest(_ x: Tensor, labels: [Int]) -> [Triplet] {
        let products = x.linear(x).scalars, count = labels.count
        return (0..<count).compactMap { anchor in
            var positive: (row: Int, distance: Float)?
            var negative: (row: Int, distance: Float)?
            for row in 0..<count where row != anchor {
                // The squared distance but for the anchor's own norm. One that is no number is the hardest: it must
                // show.
                let distance = products[row * count + row] - 2 * products[anchor * count + row]
                if labels[row] == labels[anchor] {
                    let distance = distance.isNaN ? .infinity : distance
                    if positive == nil || distance > positive!.distance { positive = (row, distance) }
                } else {
                    let distance = distance.isNaN ? -.infinity : distance
                    if negative == nil || distance < negative!.distance { negative = (row, distance) }
                }
            }
            guard let positive, let negative else { return nil }
            return Triplet(anchor: anchor, positive: positive.row, negative: negative.row)
        }
    }
}
