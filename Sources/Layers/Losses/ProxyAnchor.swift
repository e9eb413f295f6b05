import Tensors

/// Each class's weights are a proxy that pulls the samples of its class and pushes the others, the harder ones more:
/// "Proxy Anchor Loss for Deep Metric Learning", arXiv 2003.13911.
///
///     1/|P⁺| Σ over p in P⁺ of log(1 + Σ over x of class p of exp(-α (cos(x, p) - δ)))
///       + 1/|P| Σ over p in P of log(1 + Σ over x of other classes of exp(α (cos(x, p) + δ)))
///
/// with `P` all proxies and `P⁺` those whose class is in the batch.
public struct ProxyAnchor: TrainingLoss {
    /// `α`, the scale.
    public let alpha: Float
    /// `δ`, the margin.
    public let delta: Float

    public init(alpha: Float = 32, delta: Float = 0.1) {
        precondition(alpha > 0, "ProxyAnchor: alpha \(alpha)")
        self.alpha = alpha
        self.delta = delta
    }

    public var input: LossInput { .logits }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        let (rows, classes) = checkedSize("ProxyAnchor", output, labels: labels, classes: output.shape.last)
        /// A proxy's row leaves out the samples of its class, or those of the others.
        func leavingOut(_ positives: Bool) -> Tensor {
            Tensor(shape: [classes, rows]) { target in
                for index in target.indices {
                    let isPositive = labels[index % rows] == index / rows
                    target.initializeElement(at: index, to: isPositive == positives ? excluded : 0)
                }
            }
        }
        let cosines = output.permuted([1, 0])
        let pull = ((delta - cosines) * alpha + leavingOut(false)).logOnePlusSumExp().sum()
        let push = ((cosines + delta) * alpha + leavingOut(true)).logOnePlusSumExp().sum()
        return pull * (1 / Float(Set(labels).count)) + push * (1 / Float(classes))
    }
}
