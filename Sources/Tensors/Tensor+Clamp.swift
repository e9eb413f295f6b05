import CKernels

/// `min(max(x, low), high)`.
package struct ClampOperation: Operation {
    package let low: Float
    package let high: Float

    package var name: String { "clamp" }
    package func outputShape(_ inputs: [[Int]]) -> [Int] { inputs[0] }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, low, high) = (inputs[0], low, high)
        let output = x.mapped { ck_clamp_f32(low, high, $0, $1, $2) }
        return (
            output,
            // At a bound the gradient passes, as PyTorch's does.
            { [$0 * Tensor(x.scalars.map { low <= $0 && $0 <= high ? 1 : 0 }, shape: x.shape)] }
        )
    }
}

extension Tensor {
    /// Elements below `low` become `low`, elements above `high` become `high`.
    public func clamped(low: Float = -.infinity, high: Float = .infinity) -> Tensor {
        precondition(low <= high, "clamp: from \(low) to \(high)")
        return apply(ClampOperation(low: low, high: high), self)
    }
}
