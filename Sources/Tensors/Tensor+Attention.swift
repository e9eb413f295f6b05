import CKernels

/// Multi-head attention over packed projections: scores, bias, mask, softmax and values, in blocks of rows of the score
/// matrix, which never exists as a whole.
///
/// Dimensions: B sequences (or windows), L tokens, H heads, D channels of a head. Inputs: the packed queries, keys and
/// values `[B, L, 3, H, D]`; in cosine attention the heads' factors, H elements; then the bias `[H, L, L]` and the mask
/// `[W, L, L]`, where there are such. The output is `[B, L, H·D]`.
package struct AttentionOperation: Operation {
    /// How alike a query and a key are, before bias and mask.
    package enum Similarity: Sendable, Hashable {
        /// Their dot product times a constant.
        case dot(scale: Float)
        /// The cosine of their angle times the head's factor.
        case cosine
    }

    package let similarity: Similarity
    package let hasBias: Bool
    package let hasMask: Bool
    /// The most scores that a block may hold. A block and its gradient should stay in the L2 cache.
    let blockElements: Int

    package init(similarity: Similarity, hasBias: Bool, hasMask: Bool, blockElements: Int = 32768) {
        self.similarity = similarity
        self.hasBias = hasBias
        self.hasMask = hasMask
        self.blockElements = blockElements
    }

    package var name: String { "attention" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        let packed = inputs[0]
        precondition(
            packed.count == 5 && packed[2] == 3, "attention: an input of shape \(packed), expected [B, L, 3, H, D]")
        let (batch, tokens, heads) = (packed[0], packed[1], packed[3])
        if similarity == .cosine {
            let count = inputs[1].reduce(1, *)
            precondition(count == heads, "attention: \(count) scales for \(heads) heads")
        }
        if hasBias {
            let bias = inputs[index(ofBias: true)]
            precondition(
                bias == [heads, tokens, tokens], "attention: bias \(bias), expected \([heads, tokens, tokens])")
        }
        if hasMask {
            let mask = inputs[index(ofBias: false)]
            precondition(
                mask.count == 3 && mask[1] == tokens && mask[2] == tokens && mask[0] > 0 && batch % mask[0] == 0,
                "attention: mask \(mask) for \(batch) sequences of \(tokens) tokens")
        }
        return [batch, tokens, heads * packed[4]]
    }

    package func multiplyAdds(_ inputs: [[Int]], output: [Int]) -> Int { 2 * output.reduce(1, *) * inputs[0][1] }

    /// The place of the bias, or else of the mask, among the inputs.
    private func index(ofBias bias: Bool) -> Int {
        1 + (similarity == .cosine ? 1 : 0) + (!bias && hasBias ? 1 : 0)
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let attention = Attention(
            packed: inputs[0], similarity: similarity, factors: similarity == .cosine ? inputs[1] : nil,
            bias: hasBias ? inputs[index(ofBias: true)] : nil, mask: hasMask ? inputs[index(ofBias: false)] : nil,
            blockElements: blockElements)
        let output = Tensor(uninitialized: outputShape)
        attention.forward(into: output)
        guard needs.contains(true) else { return (output, nil) }
        precondition(!hasMask || !needs.last!, "attention: a mask has no gradient")
        let (hasFactors, hasBias, hasMask) = (similarity == .cosine, hasBias, hasMask)
        let biasNeeded = hasBias && needs[index(ofBias: true)]
        return (
            output,
            { gradient in
                let result = attention.backward(gradient, biasNeeded: biasNeeded)
                var gradients: [Tensor?] = [needs[0] ? result.packed : nil]
                if hasFactors { gradients.append(needs[1] ? result.factors : nil) }
                if hasBias { gradients.append(result.bias) }
                if hasMask { gradients.append(nil) }
                return gradients
            }
        )
    }
}

extension Tensor {
    /// Attention of this tensor's tokens to each other: packed queries, keys and values `[B, L, 3, H, D]` to
    /// `[B, L, H·D]`, `softmax(scale · q kᵀ + bias + mask) v` in each of the H heads (arXiv 1706.03762).
    ///
    /// - Parameters:
    ///   - bias: added to the scores of each head in every sequence: `[H, L, L]`.
    ///   - mask: added to the scores of all heads, sequence `b` taking matrix `b mod W`: `[W, L, L]`; without gradient.
    public func attention(scale: Float, bias: Tensor? = nil, mask: Tensor? = nil) -> Tensor {
        let operation = AttentionOperation(
            similarity: .dot(scale: scale), hasBias: bias != nil, hasMask: mask != nil)
        return applyVariadic(operation, [self] + [bias, mask].compactMap { $0 })
    }

    /// The same with `factors[h] · cos(q, k)` for the scores, as in Swin Transformer V2 (arXiv 2111.09883).
    ///
    /// - Parameter factors: one for each head, H elements of any shape.
    public func cosineAttention(factors: Tensor, bias: Tensor? = nil, mask: Tensor? = nil) -> Tensor {
        let operation = AttentionOperation(similarity: .cosine, hasBias: bias != nil, hasMask: mask != nil)
        return applyVariadic(operation, [self, factors] + [bias, mask].compactMap { $0 })
    }
}
