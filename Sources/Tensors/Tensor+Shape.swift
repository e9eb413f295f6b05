import CKernels

package struct ReshapeOperation: Operation {
    package let shape: [Int]

    package init(shape: [Int]) { self.shape = shape }

    package var name: String { "reshape" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        let count = inputs[0].reduce(1, *)
        var shape = shape
        if let wild = shape.firstIndex(of: -1) {
            let others = shape.enumerated().filter { $0.offset != wild }.reduce(1) { $0 * $1.element }
            precondition(others > 0 && count % others == 0, "reshape: \(inputs[0]) does not fit \(self.shape)")
            shape[wild] = count / others
        }
        precondition(
            shape.reduce(1, *) == count, "reshape: shape \(inputs[0]) has another number of elements than \(shape)")
        return shape
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let original = inputs[0].shape
        return (Tensor(shape: outputShape, storage: inputs[0].storage), { [$0.reshaped(original)] })
    }
}

package struct PermuteOperation: Operation {
    package let axes: [Int]

    package var name: String { "permute" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(
            axes.sorted() == Array(0..<inputs[0].count), "permute: axes \(axes) for a tensor of shape \(inputs[0])")
        return axes.map { inputs[0][$0] }
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let strides = inputs[0].shape.strides
        let output = inputs[0].gathered(shape: outputShape, strides: axes.map { strides[$0] })
        let axes = axes
        return (
            output,
            { gradient in [gradient.permuted(axes.indices.map { axes.firstIndex(of: $0)! })] }
        )
    }
}

package struct SliceOperation: Operation {
    package let axis: Int
    package let range: Range<Int>

    package var name: String { "slice" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        var shape = inputs[0]
        precondition(
            shape.indices.contains(axis) && range.lowerBound >= 0 && range.upperBound <= shape[axis],
            "slice: \(range) of axis \(axis) of a tensor of shape \(shape)")
        shape[axis] = range.count
        return shape
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let x = inputs[0], axis = axis, range = range
        let inner = x.shape[(axis + 1)...].reduce(1, *)
        let output = x.gathered(
            shape: outputShape, strides: x.shape.strides, offset: range.lowerBound * inner)
        return (
            output,
            { gradient in
                let result = Tensor.zeros(x.shape)
                gradient.scatterAdd(into: result, strides: x.shape.strides, offset: range.lowerBound * inner)
                return [result]
            }
        )
    }
}

extension [Int] {
    /// The row-major strides of a dense tensor of this shape.
    package var strides: [Int] {
        var strides = [Int](repeating: 1, count: count)
        for axis in indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * self[axis + 1] }
        return strides
    }
}

extension Tensor {
    /// The same elements in the same order under another shape; one size may be −1 and is then computed.
    public func reshaped(_ shape: [Int]) -> Tensor {
        shape == self.shape ? self : apply(ReshapeOperation(shape: shape), self)
    }

    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this tensor.
    public func permuted(_ axes: [Int]) -> Tensor { apply(PermuteOperation(axes: axes), self) }

    /// A range of one axis (a negative axis counts from the end).
    public func sliced(axis: Int, _ range: Range<Int>) -> Tensor {
        apply(SliceOperation(axis: axis < 0 ? axis + rank : axis, range: range), self)
    }

    /// `[N, H, W, C]` to `[N, C·H·W]` with the channels outermost, as PyTorch flattens images: the weights of a Linear
    /// behind it mean that order. A tensor with fewer axes is flattened from the second one on.
    public func flattenedChannelsFirst() -> Tensor {
        precondition(rank >= 2, "flatten: a tensor of shape \(shape) has no batch axis and other axes")
        let ordered = rank == 4 && shape[1] * shape[2] > 1 ? permuted([0, 3, 1, 2]) : self
        return ordered.reshaped([shape[0], shape.dropFirst().reduce(1, *)])
    }

    /// A dense tensor read from this one's memory at the given strides.
    func gathered(shape: [Int], strides: [Int], offset: Int = 0) -> Tensor {
        let output = Tensor(uninitialized: shape)
        guard output.count > 0 else { return output }
        let (outer, sizes, steps) = Self.splitOuter(shape, strides)
        let inner = sizes.reduce(1, *)
        parallelFor(outer.size, grain: rowGrain(inner)) { begin, end in
            ck_gather_strided_f32(
                pointer + offset + begin * outer.stride, Int64(sizes.count + 1),
                [Int64(end - begin)] + sizes.map(Int64.init), [Int64(outer.stride)] + steps.map(Int64.init),
                output.mutablePointer + begin * inner)
        }
        return output
    }

    /// Adds this tensor to `target`'s memory at the given strides.
    func scatterAdd(into target: Tensor, strides: [Int], offset: Int = 0) {
        guard count > 0 else { return }
        ck_scatter_add_strided_f32(
            pointer, Int64(rank), shape.map(Int64.init), strides.map(Int64.init), target.mutablePointer + offset)
    }

    private static func splitOuter(
        _ shape: [Int], _ strides: [Int]
    ) -> (outer: (size: Int, stride: Int), sizes: [Int], strides: [Int]) {
        guard let first = shape.first else { return ((1, 0), [], []) }
        return ((first, strides[0]), Array(shape.dropFirst()), Array(strides.dropFirst()))
    }
}

// MARK: - Concatenation

extension Tensor {
    /// The tensors one after the other along an axis (a negative axis counts from the end).
    public static func concatenated(_ parts: [Tensor], axis: Int) -> Tensor {
        guard let first = parts.first else { preconditionFailure("concatenate: no tensors") }
        if parts.count == 1 { return first }
        let axis = axis < 0 ? axis + first.rank : axis
        return applyVariadic(ConcatenateOperation(axis: axis), parts)
    }
}

package struct ConcatenateOperation: Operation {
    package let axis: Int

    package var name: String { "concatenate" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        var shape = inputs[0]
        precondition(shape.indices.contains(axis), "concatenate: axis \(axis) of a tensor of shape \(shape)")
        shape[axis] = 0
        for input in inputs {
            var others = input
            if others.indices.contains(axis) { others[axis] = 0 }
            var expected = shape
            expected[axis] = 0
            precondition(others == expected, "concatenate: shapes \(inputs) differ outside axis \(axis)")
            shape[axis] += input[axis]
        }
        return shape
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let output = Tensor(uninitialized: outputShape)
        let outer = outputShape[..<axis].reduce(1, *)
        let width = outputShape[axis...].reduce(1, *)
        var offset = 0
        for input in inputs {
            let part = input.shape[axis...].reduce(1, *)
            let start = offset
            parallelFor(outer, grain: rowGrain(part)) { begin, end in
                for row in begin..<end {
                    (output.mutablePointer + row * width + start).update(
                        from: input.pointer + row * part, count: part)
                }
            }
            offset += part
        }
        let axis = axis
        let sizes = inputs.map { $0.shape[axis] }
        return (
            output,
            { gradient in
                var low = 0
                return zip(sizes, needs).map { size, needed in
                    defer { low += size }
                    return needed ? gradient.sliced(axis: axis, low..<low + size) : nil
                }
            }
        )
    }
}
