/// The largest element along the last axis: `[..., K]` to `[...]`.
package struct MaximumOperation: Operation {
    package var name: String { "maximum" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(
            (inputs[0].last ?? 0) > 0, "maximum: a tensor of shape \(inputs[0]) has nothing along its last axis")
        return inputs[0].dropLast()
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let x = inputs[0], width = x.shape.last!
        let output = Tensor(uninitialized: outputShape)
        var places = [Int](repeating: 0, count: output.count)
        places.withUnsafeMutableBufferPointer { places in
            parallelFor(places.count, grain: rowGrain(width)) { begin, end in
                for row in begin..<end {
                    let place = Self.placeOfMaximum(x.pointer + row * width, count: width)
                    places[row] = place
                    output.mutablePointer[row] = x.pointer[row * width + place]
                }
            }
        }
        let (shape, found) = (x.shape, places)
        return (
            output,
            { gradient in
                let result = Tensor.zeros(shape)
                for (row, place) in found.enumerated() {
                    result.mutablePointer[row * width + place] = gradient.pointer[row]
                }
                return [result]
            }
        )
    }

    /// The first of the largest elements, or of those that are no number.
    private static func placeOfMaximum(_ row: UnsafePointer<Float>, count: Int) -> Int {
        var best = 0
        for place in 1..<max(1, count) where !row[best].isNaN {
            if row[place] > row[best] || row[place].isNaN { best = place }
        }
        return best
    }
}

extension Tensor {
    /// The largest element along the last axis: `[..., K]` to `[...]`. The gradient goes to the first of the largest,
    /// as that of `torch.max(dim:)`.
    public func maximum() -> Tensor { apply(MaximumOperation(), self) }
}
