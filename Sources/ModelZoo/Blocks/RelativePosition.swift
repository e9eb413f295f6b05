import Tensors

/// The relative position of each pair of tokens (query, key) of a window of `side x side` tokens: `side⁴` numbers of
/// positions that are counted row by row, `2 · side - 1` in a row.
func relativePositionIndex(side: Int) -> [Int64] {
    let tokens = side * side
    return (0..<tokens * tokens).map { pair in
        let (query, key) = pair.quotientAndRemainder(dividingBy: tokens)
        let down = query / side - key / side, right = query % side - key % side
        return Int64((down + side - 1) * (2 * side - 1) + right + side - 1)
    }
}

extension Tensor {
    /// A bias for each head and pair of tokens, looked up in this table of biases by relative position:
    /// `[positions, H]` to `[H, L, L]`.
    ///
    /// - Parameter index: the relative position of each pair, L² numbers.
    func relativePositionBias(_ index: [Int64], tokens: Int) -> Tensor {
        let (positions, heads) = (shape[0], shape[1])
        return reshaped([1, positions, heads])
            .gatheringRows(RowGather(index.map(Int.init), of: positions))
            .reshaped([tokens, tokens, heads])
            .permuted([2, 0, 1])
    }
}
