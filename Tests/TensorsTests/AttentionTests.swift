import Foundation
import Tensors
import Testing

@Suite struct AttentionTests {
    struct Case: CustomTestStringConvertible {
        var batch = 2
        var tokens: Int
        var heads: Int
        var depth: Int
        var isCosine = false
        var hasBias = false
        /// Matrices of the mask; 0: no mask.
        var windows = 0
        var blockElements = 32768

        var testDescription: String {
            "\(batch) x \(tokens) tokens, \(heads) x \(depth)\(isCosine ? ", cosine" : "")\(hasBias ? ", bias" : "")"
                + "\(windows > 0 ? ", \(windows) masks" : ""), blocks of \(blockElements)"
        }

        /// Packed projections, then the heads' factors, the bias and the mask where there are such.
        var inputs: [Tensor] {
            var inputs: [Tensor] = [.random([batch, tokens, 3, heads, depth], seed: 1)]
            if isCosine { inputs.append(.random([heads, 1, 1], seed: 2) + 3) }
            if hasBias { inputs.append(.random([heads, tokens, tokens], seed: 3)) }
            if windows > 0 {
                // Some pairs are shut out, as between shifted windows.
                let pattern = (0..<windows * tokens * tokens).map { Float($0 % 3 == 1 ? -100 : 0) }
                inputs.append(Tensor(pattern, shape: [windows, tokens, tokens]))
            }
            return inputs
        }

        var operation: AttentionOperation {
            AttentionOperation(
                similarity: isCosine ? .cosine : .dot(scale: 0.7), hasBias: hasBias, hasMask: windows > 0,
                blockElements: blockElements)
        }
    }

    static let cases = [
        Case(batch: 1, tokens: 1, heads: 1, depth: 1),
        Case(tokens: 5, heads: 3, depth: 7),
        Case(tokens: 6, heads: 2, depth: 4, hasBias: true),
        Case(batch: 6, tokens: 4, heads: 2, depth: 3, windows: 3),
        Case(batch: 4, tokens: 5, heads: 3, depth: 4, hasBias: true, windows: 2),
        Case(batch: 4, tokens: 5, heads: 2, depth: 4, isCosine: true, hasBias: true, windows: 2),
        Case(tokens: 4, heads: 3, depth: 5, isCosine: true),
        // Several blocks of rows, the last one smaller.
        Case(tokens: 7, heads: 2, depth: 4, hasBias: true, blockElements: 21),
        Case(batch: 4, tokens: 7, heads: 2, depth: 3, isCosine: true, hasBias: true, windows: 2, blockElements: 14),
        Case(tokens: 3, heads: 2, depth: 2, windows: 1, blockElements: 1),
    ]

    /// Enough tokens for several blocks of the usual size.
    static let long = [
        Case(batch: 2, tokens: 261, heads: 2, depth: 8, hasBias: true, windows: 2),
        Case(batch: 2, tokens: 261, heads: 3, depth: 8, isCosine: true, hasBias: true),
    ]

    @Test(arguments: cases + long) func matchesPlainLoops(_ c: Case) {
        let output = applyVariadic(c.operation, c.inputs).scalars
        for (index, (got, expected)) in zip(output, plainAttention(c)).enumerated() {
            #expect(abs(got - expected) <= 2e-6, "element \(index)")
        }
    }

    @Test(arguments: cases) func gradientMatchesDifferences(_ c: Case) {
        // A mask has no gradient: it is no leaf.
        let masks = c.windows > 0 ? [c.inputs.last!] : []
        GradientCheck.check(c.testDescription, c.inputs.dropLast(masks.count), tolerance: 5e-3) {
            applyVariadic(c.operation, $0 + masks)
        }
    }

    @Test(arguments: long) func gradientDoesNotDependOnBlocks(_ c: Case) {
        var whole = c
        whole.blockElements = .max
        let masks = c.windows > 0 ? [c.inputs.last!] : []
        let inputs = Array(c.inputs.dropLast(masks.count))
        let blocked = gradients(of: inputs) { applyVariadic(c.operation, $0 + masks) }
        let expected = gradients(of: inputs) { applyVariadic(whole.operation, $0 + masks) }
        for (got, expected) in zip(blocked, expected) {
            let scale = expected!.scalars.map(abs).max()!
            for (a, b) in zip(got!.scalars, expected!.scalars) { #expect(abs(a - b) <= 1e-5 * scale) }
        }
    }

    @Test func zeroVectorsHaveNoDirection() {
        let (packed, factors) = (Tensor.zeros([1, 3, 3, 1, 4]), Tensor([10], shape: [1]))
        #expect(packed.cosineAttention(factors: factors).scalars == [Float](repeating: 0, count: 12))
        let gradient = gradients(of: [packed]) { $0[0].cosineAttention(factors: factors) }[0]!
        #expect(gradient.scalars.allSatisfy { $0.isFinite })
    }

    /// The gradients of `Σ weights · f(inputs)` with some weights.
    private func gradients(of inputs: [Tensor], _ f: ([Tensor]) -> Tensor) -> [Tensor?] {
        var gradients = [Tensor?](repeating: nil, count: inputs.count)
        let output = f(inputs.indices.map { index in inputs[index].watched { gradients[index] = $0 } })
        output.backward(gradient: .random(output.shape, seed: 9))
        return gradients
    }

    /// The definition, in double precision.
    private func plainAttention(_ c: Case) -> [Float] {
        var inputs = c.inputs.map { $0.scalars.map(Double.init) }
        let packed = inputs.removeFirst()
        let factors = c.isCosine ? inputs.removeFirst() : nil
        let bias = c.hasBias ? inputs.removeFirst() : nil
        let mask = c.windows > 0 ? inputs.removeFirst() : nil
        let (tokens, heads, depth) = (c.tokens, c.heads, c.depth)
        func vector(_ n: Int, _ token: Int, _ slot: Int, _ head: Int) -> [Double] {
            let start = (((n * tokens + token) * 3 + slot) * heads + head) * depth
            return Array(packed[start..<start + depth])
        }
        func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
        var output = [Float](repeating: 0, count: c.batch * tokens * heads * depth)
        for n in 0..<c.batch {
            for head in 0..<heads {
                for i in 0..<tokens {
                    let query = vector(n, i, 0, head)
                    let scores = (0..<tokens).map { j -> Double in
                        let key = vector(n, j, 1, head)
                        var score = dot(query, key)
                        if let factors {
                            score *= factors[head] / (dot(query, query) * dot(key, key)).squareRoot()
                        } else {
                            score *= 0.7
                        }
                        if let bias { score += bias[(head * tokens + i) * tokens + j] }
                        if let mask { score += mask[(n % c.windows * tokens + i) * tokens + j] }
                        return score
                    }
                    let most = scores.max()!
                    let weights = scores.map { exp($0 - most) }
                    let total = weights.reduce(0, +)
                    for channel in 0..<depth {
                        let sum = (0..<tokens).reduce(0.0) { $0 + weights[$1] * vector(n, $1, 2, head)[channel] }
                        output[((n * tokens + i) * heads + head) * depth + channel] = Float(sum / total)
                    }
                }
            }
        }
        return output
    }
}

extension Tensor {
    /// Uniform in [-1, 1), the same at every call.
    static func random(_ shape: [Int], seed: UInt64) -> Tensor {
        var source = RandomSource(seed: seed)
        return .random(shape, using: &source)
    }
}
