import CKernels

/// Softmax over the last axis, or its logarithm.
package struct SoftmaxOperation: Operation {
    package let logarithmic: Bool

    package var name: String { logarithmic ? "log_softmax" : "softmax" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(!inputs[0].isEmpty, "\(name): a scalar has no last axis")
        return inputs[0]
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, logarithmic) = (inputs[0], logarithmic)
        let width = outputShape.last!
        let rows = x.count / max(1, width)
        let y = Tensor(uninitialized: outputShape)
        parallelFor(rows, grain: rowGrain(8 * width)) { begin, end in
            let kernel = logarithmic ? ck_log_softmax_forward_f32 : ck_softmax_forward_f32
            kernel(x.pointer + begin * width, Int64(end - begin), Int64(width), y.mutablePointer + begin * width)
        }
        return (
            y,
            { gradient in
                let result = Tensor(uninitialized: y.shape)
                parallelFor(rows, grain: rowGrain(8 * width)) { begin, end in
                    let kernel = logarithmic ? ck_log_softmax_backward_f32 : ck_softmax_backward_f32
                    kernel(
                        y.pointer + begin * width, gradient.pointer + begin * width, Int64(end - begin),
                        Int64(width), result.mutablePointer + begin * width)
                }
                return [result]
            }
        )
    }
}

extension Tensor {
    /// Softmax over the last axis.
    public func softmax() -> Tensor { apply(SoftmaxOperation(logarithmic: false), self) }

    /// The logarithm of the softmax over the last axis.
    public func logSoftmax() -> Tensor { apply(SoftmaxOperation(logarithmic: true), self) }

    /// The mean cross-entropy of logits `[N, K]` against one class per row, a scalar.
    ///
    /// With label smoothing ε, the target distribution is `1 − ε` on the label plus `ε / K` on every class, as
    /// PyTorch's `cross_entropy`.
    ///
    /// - Precondition: every label is one of the `K` classes.
    public func crossEntropy(_ labels: [Int], labelSmoothing: Float = 0) -> Tensor {
        precondition(
            rank == 2 && shape[0] == labels.count && !labels.isEmpty,
            "crossEntropy: logits \(shape) for \(labels.count) labels")
        let classes = shape[1]
        var target = [Float](repeating: labelSmoothing / Float(classes), count: count)
        for (row, label) in labels.enumerated() {
            precondition(0..<classes ~= label, "crossEntropy: label \(label) of row \(row) is not below \(classes)")
            target[row * classes + label] += 1 - labelSmoothing
        }
        return (logSoftmax() * Tensor(target, shape: shape)).sum() * (-1 / Float(labels.count))
    }
}
