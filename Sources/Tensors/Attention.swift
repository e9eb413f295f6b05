import CKernels

/// One evaluation of attention: its inputs, and the loops over sequences, heads and blocks of rows.
///
/// The scores of a block are computed twice, on the way forward and on the way back: nothing is kept between the two.
struct Attention: Sendable {
    private let packed: Tensor
    private let similarity: AttentionOperation.Similarity
    private let factors: Tensor?
    private let bias: Tensor?
    private let mask: Tensor?
    private let batch: Int
    private let tokens: Int
    private let heads: Int
    /// Channels of a head.
    private let depth: Int
    /// Blocks of rows of one score matrix, and the rows of each but the last.
    private let blocks: Int
    private let blockRows: Int

    init(
        packed: Tensor, similarity: AttentionOperation.Similarity, factors: Tensor?, bias: Tensor?, mask: Tensor?,
        blockElements: Int
    ) {
        self.packed = packed
        self.similarity = similarity
        self.factors = factors
        self.bias = bias
        self.mask = mask
        (batch, tokens, heads, depth) = (packed.shape[0], packed.shape[1], packed.shape[3], packed.shape[4])
        let most = max(1, blockElements / max(1, tokens))
        blocks = max(1, (tokens + most - 1) / most)
        blockRows = (tokens + blocks - 1) / blocks
    }

    private enum Slot: Int { case query, key, value }

    /// Elements from one token to the next, in the packed projections and in the output.
    private var packedStride: Int { 3 * heads * depth }
    private var outputStride: Int { heads * depth }

    /// The place of one head's queries, keys or values of one sequence in a packed tensor.
    private func packedOffset(_ slot: Slot, _ pair: Int) -> Int {
        pair / heads * tokens * packedStride + (slot.rawValue * heads + pair % heads) * depth
    }

    /// The place of one head's output of one sequence.
    private func outputOffset(_ pair: Int) -> Int {
        pair / heads * tokens * outputStride + pair % heads * depth
    }

    private func rows(ofBlock block: Int) -> Range<Int> {
        block * blockRows..<min(tokens, (block + 1) * blockRows)
    }

    /// What a product of queries and keys is multiplied by in a head.
    private func factor(ofHead head: Int) -> Float {
        switch similarity {
        case .dot(let scale): scale
        case .cosine: factors!.pointer[head]
        }
    }

    /// The work of one block should be worth some tens of microseconds to be handed out.
    private func grain(rows: Int) -> Int { max(1, (1 << 19) / max(1, rows * tokens * depth)) }

    // MARK: Forward

    func forward(into output: Tensor) {
        parallelFor(batch * heads * blocks, grain: grain(rows: blockRows)) { begin, end in
            let scores = TensorStorage(count: blockRows * tokens)
            let workspace = Workspace(self)
            for unit in begin..<end {
                let pair = unit / blocks
                let rows = rows(ofBlock: unit % blocks)
                let keys = workspace.keys(pair)
                probabilities(pair, rows, workspace.queries(pair, rows), keys, into: scores.pointer)
                gemm(
                    m: rows.count, n: depth, k: tokens, MatrixOperand(scores.pointer, stride: tokens),
                    MatrixOperand(packed.pointer + packedOffset(.value, pair), stride: packedStride),
                    output.mutablePointer + outputOffset(pair) + rows.lowerBound * outputStride,
                    stride: outputStride)
            }
        }
    }

    /// The softmax of some rows of the scores of one head in one sequence: `[rows, L]`.
    private func probabilities(
        _ pair: Int, _ rows: Range<Int>, _ queries: MatrixOperand, _ keys: MatrixOperand,
        into scores: UnsafeMutablePointer<Float>
    ) {
        let size = tokens * tokens, start = rows.lowerBound * tokens, count = rows.count * tokens
        let biasRows = bias.map { $0.pointer + pair % heads * size + start }
        let maskRows = mask.map { $0.pointer + pair / heads % $0.shape[0] * size + start }
        // The product is added to what is there already.
        if let biasRows, let maskRows {
            var shape = ck_binary_shape(rows: 1, cols: Int64(count), a_row: 0, a_col: 1, b_row: 0, b_col: 1)
            ck_binary_f32(CK_ADD, &shape, biasRows, maskRows, scores)
        } else if let addend = biasRows ?? maskRows {
            scores.update(from: addend, count: count)
        }
        gemm(
            m: rows.count, n: tokens, k: depth, alpha: factor(ofHead: pair % heads), queries,
            MatrixOperand(keys.pointer, stride: keys.stride, transposed: true),
            beta: bias == nil && mask == nil ? 0 : 1, scores, stride: tokens)
        ck_softmax_forward_f32(scores, Int64(rows.count), Int64(tokens), scores)
    }

    /// Where a thread's queries and keys come from: read in place or, for cosines, scaled to norm 1 in memory of its
    /// own.
    private final class Workspace {
        private let attention: Attention
        private let normalized: TensorStorage?
        private var currentPair = -1

        init(_ attention: Attention) {
            self.attention = attention
            // Keys, queries, the keys' norms, the queries' norms.
            normalized =
                attention.similarity == .cosine
                ? TensorStorage(count: 2 * attention.tokens * (attention.depth + 1)) : nil
        }

        private func place(_ slot: Slot) -> UnsafeMutablePointer<Float>? {
            normalized.map { $0.pointer + (slot == .key ? 0 : attention.tokens * attention.depth) }
        }

        /// The norms that the keys or the block's queries were divided by.
        func norms(_ slot: Slot) -> UnsafeMutablePointer<Float> {
            normalized!.pointer + attention.tokens * (2 * attention.depth + (slot == .key ? 0 : 1))
        }

        func keys(_ pair: Int) -> MatrixOperand {
            defer { currentPair = pair }
            return operand(.key, pair, 0..<attention.tokens, isCurrent: pair == currentPair)
        }

        func queries(_ pair: Int, _ rows: Range<Int>) -> MatrixOperand {
            operand(.query, pair, rows, isCurrent: false)
        }

        private func operand(_ slot: Slot, _ pair: Int, _ rows: Range<Int>, isCurrent: Bool) -> MatrixOperand {
            let (stride, depth) = (attention.packedStride, attention.depth)
            let source = attention.packed.pointer + attention.packedOffset(slot, pair) + rows.lowerBound * stride
            guard let target = place(slot) else { return MatrixOperand(source, stride: stride) }
            if !isCurrent {
                let count = Int64(rows.count), norms = norms(slot)
                for row in 0..<rows.count { (target + row * depth).update(from: source + row * stride, count: depth) }
                ck_norm_rows_f32(target, count, Int64(depth), norms)
                ck_clamp_f32(smallestNorm, .infinity, norms, norms, count)
                var shape = ck_binary_shape(
                    rows: count, cols: Int64(depth), a_row: Int64(depth), a_col: 1, b_row: 1, b_col: 0)
                ck_binary_f32(CK_DIV, &shape, target, norms, target)
            }
            return MatrixOperand(target, stride: depth)
        }
    }

    // MARK: Backward

    /// The gradients of the packed projections, of the heads' factors and of the bias.
    func backward(_ gradient: Tensor, biasNeeded: Bool) -> (packed: Tensor, factors: Tensor?, bias: Tensor?) {
        let result = Tensor(uninitialized: packed.shape)
        let toFactors = factors.map { _ in Tensor.zeros([batch, heads]) }
        let (pairs, grain) = (batch * heads, grain(rows: tokens))
        // Every thread adds up the bias's gradient over its sequences; the sums are added at the end.
        let chunks = Chunks(pairs, grain: grain)
        let toBias = biasNeeded ? Tensor.zeros([chunks.count, heads * tokens * tokens]) : nil
        chunks.run { begin, end, chunk in
            let scratch = TensorStorage(count: 2 * blockRows * tokens + (tokens + blockRows) * depth)
            let workspace = Workspace(self)
            let biasSums = toBias.map { $0.mutablePointer + chunk * heads * tokens * tokens }
            for pair in begin..<end {
                let sum = pairGradient(pair, gradient, workspace, scratch.pointer, biasSums, into: result)
                if let toFactors { toFactors.mutablePointer[pair] = sum }
            }
        }
        return (
            result, toFactors.map { $0.summed(to: [heads]).reshaped(factors!.shape) },
            toBias.map { $0.summed(to: [1, heads * tokens * tokens]).reshaped([heads, tokens, tokens]) }
        )
    }

    /// Writes the gradients of one head's queries, keys and values in one sequence, and adds to the bias's gradient.
    ///
    /// - Returns: the gradient of the head's factor.
    private func pairGradient(
        _ pair: Int, _ gradient: Tensor, _ workspace: Workspace, _ scratch: UnsafeMutablePointer<Float>,
        _ biasSums: UnsafeMutablePointer<Float>?, into result: Tensor
    ) -> Float {
        let weights = scratch
        let toScores = weights + blockRows * tokens
        let toQueries = toScores + blockRows * tokens
        let toKeys = toQueries + blockRows * depth
        let isCosine = similarity == .cosine
        let factor = factor(ofHead: pair % heads)
        let keys = workspace.keys(pair)
        let values = packed.pointer + packedOffset(.value, pair)
        let (queryTarget, keyTarget, valueTarget) = (
            result.mutablePointer + packedOffset(.query, pair), result.mutablePointer + packedOffset(.key, pair),
            result.mutablePointer + packedOffset(.value, pair)
        )
        var factorSum = 0.0
        for block in 0..<blocks {
            let rows = rows(ofBlock: block)
            let beta: Float = block == 0 ? 0 : 1
            let queries = workspace.queries(pair, rows)
            let outputRows = gradient.pointer + outputOffset(pair) + rows.lowerBound * outputStride
            probabilities(pair, rows, queries, keys, into: weights)
            gemm(
                m: tokens, n: depth, k: rows.count, MatrixOperand(weights, stride: tokens, transposed: true),
                MatrixOperand(outputRows, stride: outputStride), beta: beta, valueTarget, stride: packedStride)
            gemm(
                m: rows.count, n: tokens, k: depth, MatrixOperand(outputRows, stride: outputStride),
                MatrixOperand(values, stride: packedStride, transposed: true), toScores, stride: tokens)
            ck_softmax_backward_f32(weights, toScores, Int64(rows.count), Int64(tokens), toScores)
            if let biasSums {
                let start = (pair % heads * tokens + rows.lowerBound) * tokens
                ck_axpy_f32(1, toScores, biasSums + start, Int64(rows.count * tokens))
            }
            let scores = MatrixOperand(toScores, stride: tokens)
            let queryRows = queryTarget + rows.lowerBound * packedStride
            gemm(
                m: rows.count, n: depth, k: tokens, alpha: isCosine ? 1 : factor, scores, keys,
                isCosine ? toQueries : queryRows, stride: isCosine ? depth : packedStride)
            gemm(
                m: tokens, n: depth, k: rows.count, alpha: factor,
                MatrixOperand(toScores, stride: tokens, transposed: true), queries, beta: beta,
                isCosine ? toKeys : keyTarget, stride: isCosine ? depth : packedStride)
            if isCosine {
                // The scores are `factor · q̂ k̂ᵀ`: what reached `q̂` without the factor gives the factor's gradient.
                factorSum += ck_dot_f32(toQueries, queries.pointer, Int64(rows.count * depth))
                denormalize(
                    rows.count, toQueries, queries.pointer, workspace.norms(.query), factor: factor, into: queryRows)
            }
        }
        if isCosine { denormalize(tokens, toKeys, keys.pointer, workspace.norms(.key), factor: 1, into: keyTarget) }
        return Float(factorSum)
    }

    /// From the gradient `g` of vectors `u = x / max(|x|, ε)` to `factor` times that of `x`, `(g - u (u · g)) / |x|`.
    private func denormalize(
        _ rows: Int, _ gradient: UnsafePointer<Float>, _ units: UnsafePointer<Float>, _ norms: UnsafePointer<Float>,
        factor: Float, into target: UnsafeMutablePointer<Float>
    ) {
        for row in 0..<rows {
            let (g, u, x) = (gradient + row * depth, units + row * depth, target + row * packedStride)
            let along = norms[row] > smallestNorm ? Float(ck_dot_f32(g, u, Int64(depth))) : 0
            let scale = factor / norms[row]
            for channel in 0..<depth { x[channel] = scale * (g[channel] - u[channel] * along) }
        }
    }
}

/// Norms below this count as this, as in PyTorch's `normalize`.
private let smallestNorm: Float = 1e-12
