import CKernels

/// Which row of the input each row of the output is, the same for every sample: reorderings of tokens (windows, shifts,
/// merged patches), padding with zeros, look-ups in a table.
public struct RowGather: Sendable {
    /// The input's row of each output row; ``blank`` for a row of zeros.
    package let sources: [Int]
    /// The number of the input's rows.
    package let sourceRows: Int
    /// The output row of each input row, ``blank`` for none; `nil` where an input row comes more than once.
    let inverse: [Int]?

    /// The source of a row of zeros.
    public static let blank = -1

    /// - Precondition: every source is ``blank`` or one of `sourceRows` rows.
    public init(_ sources: [Int], of sourceRows: Int) {
        self.sources = sources
        self.sourceRows = sourceRows
        var inverse = [Int](repeating: Self.blank, count: sourceRows)
        var isInjective = true
        for (row, source) in sources.enumerated() where source != Self.blank {
            precondition(0..<sourceRows ~= source, "gather_rows: row \(source) of \(sourceRows)")
            isInjective = isInjective && inverse[source] == Self.blank
            inverse[source] = row
        }
        self.inverse = isInjective ? inverse : nil
    }

    /// The way back; rows that did not come from the output are blank.
    ///
    /// - Precondition: no row comes more than once.
    public var inverted: RowGather {
        guard let inverse else { preconditionFailure("gather_rows: a row that comes twice has no way back") }
        return RowGather(inverse, of: sources.count)
    }
}

/// `[N, R, C]` to `[N, rows, C]`.
package struct GatherRowsOperation: Operation {
    package let gather: RowGather

    package var name: String { "gather_rows" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        let x = inputs[0]
        precondition(
            x.count == 3 && x[1] == gather.sourceRows,
            "gather_rows: an input of shape \(x), expected [N, \(gather.sourceRows), C]")
        return [x[0], gather.sources.count, x[2]]
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let output = Self.rows(of: inputs[0], at: gather.sources)
        let (gather, shape) = (gather, inputs[0].shape)
        return (
            output,
            { gradient in
                if let inverse = gather.inverse { return [Self.rows(of: gradient, at: inverse)] }
                let result = Tensor.zeros(shape)
                let (rows, width) = (gather.sources.count, shape[2])
                // Samples are apart from each other; the rows of one may meet.
                parallelFor(shape[0], grain: rowGrain(rows * width)) { begin, end in
                    for sample in begin..<end {
                        let target = result.mutablePointer + sample * shape[1] * width
                        for (row, source) in gather.sources.enumerated() where source != RowGather.blank {
                            ck_axpy_f32(
                                1, gradient.pointer + (sample * rows + row) * width, target + source * width,
                                Int64(width))
                        }
                    }
                }
                return [result]
            }
        )
    }

    private static func rows(of x: Tensor, at sources: [Int]) -> Tensor {
        let (rows, width) = (sources.count, x.shape[2])
        let output = Tensor(uninitialized: [x.shape[0], rows, width])
        parallelFor(x.shape[0] * rows, grain: rowGrain(width)) { begin, end in
            for index in begin..<end {
                let (sample, row) = index.quotientAndRemainder(dividingBy: rows)
                let target = output.mutablePointer + index * width
                if sources[row] == RowGather.blank {
                    target.update(repeating: 0, count: width)
                } else {
                    target.update(from: x.pointer + (sample * x.shape[1] + sources[row]) * width, count: width)
                }
            }
        }
        return output
    }
}

extension Tensor {
    /// The rows of each sample that `gather` names: `[N, R, C]` to `[N, rows, C]`.
    public func gatheringRows(_ gather: RowGather) -> Tensor { apply(GatherRowsOperation(gather: gather), self) }
}
