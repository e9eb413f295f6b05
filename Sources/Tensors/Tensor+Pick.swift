/// One element of each row: `[N, K]` to `[N]`.
package struct PickOperation: Operation {
    /// The column of each row.
    package let columns: [Int]

    package var name: String { "pick" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(
            inputs[0].count == 2 && inputs[0][0] == columns.count,
            "pick: \(columns.count) columns for a tensor of shape \(inputs[0])")
        for (row, column) in columns.enumerated() {
            precondition(
                0..<inputs[0][1] ~= column, "pick: column \(column) of row \(row) is not one of \(inputs[0][1])")
        }
        return [columns.count]
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, columns) = (inputs[0], columns)
        let width = x.shape[1]
        let output = Tensor(uninitialized: outputShape)
        for (row, column) in columns.enumerated() {
            output.mutablePointer[row] = x.pointer[row * width + column]
        }
        return (
            output,
            { gradient in
                let result = Tensor.zeros([columns.count, width])
                for (row, column) in columns.enumerated() {
                    result.mutablePointer[row * width + column] = gradient.pointer[row]
                }
                return [result]
            }
        )
    }
}

extension Tensor {
    /// The element of each row in the given column: `[N, K]` to `[N]`.
    ///
    /// - Precondition: one column below `K` for each row.
    public func picking(_ columns: [Int]) -> Tensor { apply(PickOperation(columns: columns), self) }
}
