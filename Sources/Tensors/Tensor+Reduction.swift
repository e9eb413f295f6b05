import CKernels

/// The sum over some axes, which stay with size 1.
package struct SumOperation: Operation {
    package let axes: Set<Int>

    package var name: String { "sum" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        inputs[0].enumerated().map { axes.contains($0.offset) ? 1 : $0.element }
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let shape = inputs[0].shape
        var result = inputs[0]
        // One contiguous group of axes at a time, the innermost first.
        var high = shape.count
        while high > 0 {
            guard axes.contains(high - 1) else {
                high -= 1
                continue
            }
            var low = high - 1
            while low > 0, axes.contains(low - 1) { low -= 1 }
            let current = result.shape
            let outer = current[..<low].reduce(1, *), inner = current[high...].reduce(1, *)
            let reduced = current[low..<high].reduce(1, *)
            let next = current.enumerated().map { (low..<high).contains($0.offset) ? 1 : $0.element }
            result = Self.sum(result, outer: outer, reduced: reduced, inner: inner, shape: next)
            high = low
        }
        return (result, { [$0.expanded(to: shape)] })
    }

    /// `[outer, reduced, inner]` summed to `[outer, inner]`.
    private static func sum(_ x: Tensor, outer: Int, reduced: Int, inner: Int, shape: [Int]) -> Tensor {
        let output = Tensor(uninitialized: shape)
        if inner == 1 {
            parallelFor(outer, grain: rowGrain(reduced)) { begin, end in
                ck_sum_rows_f32(
                    x.pointer + begin * reduced, Int64(end - begin), Int64(reduced), output.mutablePointer + begin)
            }
            return output
        }
        if outer == 1 {
            let sums = columnSums(rows: reduced, columns: inner, lanes: 1) { begin, rows, sums in
                ck_sum_columns_f32(x.pointer + begin * inner, Int64(rows), Int64(inner), sums)
            }
            for column in 0..<inner { output.mutablePointer[column] = Float(sums[column]) }
            return output
        }
        parallelFor(outer, grain: rowGrain(reduced * inner)) { begin, end in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: inner) { sums in
                for index in begin..<end {
                    sums.initialize(repeating: 0)
                    ck_sum_columns_f32(
                        x.pointer + index * reduced * inner, Int64(reduced), Int64(inner), sums.baseAddress!)
                    let target = output.mutablePointer + index * inner
                    for column in 0..<inner { target[column] = Float(sums[column]) }
                }
            }
        }
        return output
    }
}

/// Sums over rows, computed chunk by chunk over the engine's threads and added in the chunks' order: `body` adds the
/// sums of `rows` rows from `begin` on to `lanes x columns` accumulators.
func columnSums(
    rows: Int, columns: Int, lanes: Int,
    _ body: (_ begin: Int, _ rows: Int, _ sums: UnsafeMutablePointer<Double>) -> Void
) -> [Double] {
    let width = columns * lanes
    let chunks = Chunks(rows, grain: rowGrain(columns))
    var partial = [Double](repeating: 0, count: width * chunks.count)
    partial.withUnsafeMutableBufferPointer { buffer in
        let base = buffer.baseAddress!
        chunks.run { begin, end, chunk in
            body(begin, end - begin, base + chunk * width)
        }
        for chunk in 1..<chunks.count {
            for index in 0..<width { base[index] += base[chunk * width + index] }
        }
    }
    partial.removeLast(width * (chunks.count - 1))
    return partial
}

/// The inverse of a sum: elements repeated along axes of size 1.
package struct ExpandOperation: Operation {
    package let shape: [Int]

    package var name: String { "expand" }
    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(
            Broadcast.shape(inputs[0], shape) == shape, "expand: shape \(inputs[0]) does not expand to \(shape)")
        return shape
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let x = inputs[0]
        if x.shape == outputShape { return (x, { [$0] }) }
        return (Broadcast.apply(CK_ADD, x, .zeros([1]), shape: outputShape), { [$0.summed(to: x.shape)] })
    }
}

extension Tensor {
    /// Axes counted from the end if negative, checked.
    func normalized(axes: [Int]) -> Set<Int> {
        Set(
            axes.map { axis in
                precondition(
                    axis >= -rank && axis < rank, "axis \(axis) is not one of a tensor of shape \(shape)")
                return axis < 0 ? axis + rank : axis
            })
    }

    /// The sum over the given axes (negative ones count from the end; none given: over all).
    public func sum(axes: Int..., keepingAxes: Bool = false) -> Tensor {
        let reduced = axes.isEmpty ? Set(0..<rank) : normalized(axes: axes)
        let sum = apply(SumOperation(axes: reduced), self)
        if keepingAxes { return sum }
        return sum.reshaped(shape.enumerated().filter { !reduced.contains($0.offset) }.map(\.element))
    }

    /// The mean over the given axes (negative ones count from the end; none given: over all).
    public func mean(axes: Int..., keepingAxes: Bool = false) -> Tensor {
        let reduced = axes.isEmpty ? Set(0..<rank) : normalized(axes: axes)
        let sum = apply(SumOperation(axes: reduced), self)
        let mean = sum * (1 / Float(reduced.reduce(1) { $0 * shape[$1] }))
        if keepingAxes { return mean }
        return mean.reshaped(shape.enumerated().filter { !reduced.contains($0.offset) }.map(\.element))
    }

    /// This tensor summed over the axes along which `shape` was broadcast to its own shape.
    func summed(to shape: [Int]) -> Tensor {
        if self.shape == shape { return self }
        let extra = rank - shape.count
        let axes = (0..<rank).filter { $0 < extra || (shape[$0 - extra] == 1 && self.shape[$0] != 1) }
        return apply(SumOperation(axes: Set(axes)), self).reshaped(shape)
    }

    /// The product with a tensor of the same shape, summed as by ``summed(to:)``; the product itself is not kept where the
    /// summed axes are neighbours with others behind them: the gradients of scales of channels.
    func productSummed(_ other: Tensor, to shape: [Int]) -> Tensor {
        let target = [Int](repeating: 1, count: rank - shape.count) + shape
        let low = (0..<rank).first { target[$0] != self.shape[$0] } ?? rank
        let high = (low..<rank).first { target[$0] != 1 } ?? rank
        let (reduced, inner) = (self.shape[low..<high].reduce(1, *), self.shape[high...].reduce(1, *))
        guard high > low, high < rank, target[high...] == self.shape[high...] else {
            return (self * other).summed(to: shape)
        }
        let output = Tensor(uninitialized: shape)
        let outer = output.count / max(1, inner)
        if outer == 1 {
            let sums = columnSums(rows: reduced, columns: inner, lanes: 1) { begin, rows, sums in
                ck_dot_columns_f32(
                    pointer + begin * inner, other.pointer + begin * inner, Int64(rows), Int64(inner), sums)
            }
            for column in 0..<inner { output.mutablePointer[column] = Float(sums[column]) }
            return output
        }
        parallelFor(outer, grain: rowGrain(reduced * inner)) { begin, end in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: inner) { sums in
                for index in begin..<end {
                    sums.initialize(repeating: 0)
                    let start = index * reduced * inner
                    ck_dot_columns_f32(
                        pointer + start, other.pointer + start, Int64(reduced), Int64(inner), sums.baseAddress!)
                    let target = output.mutablePointer + index * inner
                    for column in 0..<inner { target[column] = Float(sums[column]) }
                }
            }
        }
        return output
    }

    /// The elements repeated along axes of size 1, and along new leading axes, to fill `shape`.
    public func expanded(to shape: [Int]) -> Tensor { apply(ExpandOperation(shape: shape), self) }

    /// The Euclidean norm over the last axis, which stays with size 1: `[..., D]` to `[..., 1]`. Its gradient at a zero
    /// vector is zero, as PyTorch's.
    public func norm() -> Tensor { apply(NormOperation(), self) }
}

package struct NormOperation: Operation {
    package var name: String { "norm" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(!inputs[0].isEmpty, "norm: a scalar has no last axis")
        return inputs[0].dropLast() + [1]
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let x = inputs[0], width = x.shape.last!
        let norms = Tensor(uninitialized: outputShape)
        parallelFor(norms.count, grain: rowGrain(width)) { begin, end in
            ck_norm_rows_f32(
                x.pointer + begin * width, Int64(end - begin), Int64(width), norms.mutablePointer + begin)
        }
        return (
            norms,
            { gradient in
                let factors = zip(gradient.scalars, norms.scalars).map { $1 == 0 ? 0 : $0 / $1 }
                return [x * Tensor(factors, shape: norms.shape)]
            }
        )
    }
}
