/// A product with fixed factors that are made for the input's shape: dropout masks.
extension Tensor {
    /// Each element is 0 with probability `p`, or else divided by `1 − p`.
    public func dropout(p: Double, using source: inout some RandomNumberGenerator) -> Tensor {
        precondition(0...1 ~= p, "dropout: probability \(p)")
        guard p > 0, Trace.current == nil else { return self }
        return self * Self.dropoutMask(shape: shape, p: p, using: &source)
    }

    /// Each sample (index of the first axis) is 0 with probability `p`, or else divided by `1 − p`: stochastic depth in
    /// row mode (arXiv 1603.09382).
    public func sampleDropout(p: Double, using source: inout some RandomNumberGenerator) -> Tensor {
        precondition(0...1 ~= p && rank > 0, "stochastic depth: probability \(p) for a tensor of shape \(shape)")
        guard p > 0, Trace.current == nil else { return self }
        let shape = [shape[0]] + [Int](repeating: 1, count: rank - 1)
        return self * Self.dropoutMask(shape: shape, p: p, using: &source)
    }

    private static func dropoutMask(
        shape: [Int], p: Double, using source: inout some RandomNumberGenerator
    ) -> Tensor {
        let kept = p < 1 ? Float(1 / (1 - p)) : 0
        let threshold = UInt64(p * 0x1p53)
        return Tensor(shape: shape) { mask in
            for index in mask.indices { mask[index] = (source.next() >> 11) < threshold ? 0 : kept }
        }
    }
}
