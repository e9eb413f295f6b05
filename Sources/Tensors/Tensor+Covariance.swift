import COpenBLAS

extension Tensor {
    /// The means of the columns of `[N, D]` and their covariances, divided by N - 1, in double precision.
    ///
    /// The covariances are `[D, D]`, row-major, of which only the upper triangle is filled.
    ///
    /// - Precondition: N > 1.
    package func columnMeansAndCovariances() -> (means: [Double], covariances: [Double]) {
        precondition(rank == 2 && shape[0] > 1, "covariances: a tensor of shape \(shape)")
        Engine.singleThreadedBLAS
        let (rows, columns) = (shape[0], shape[1])
        return withUnsafeScalars { x in
            var means = [Double](repeating: 0, count: columns)
            for row in 0..<rows {
                for column in 0..<columns { means[column] += Double(x[row * columns + column]) }
            }
            for column in 0..<columns { means[column] /= Double(rows) }
            var covariances = [Double](repeating: 0, count: columns * columns)
            // As many rows at a time as are worth a call: the whole set in double would need twice its memory.
            let block = 512
            var centered = [Double](repeating: 0, count: min(block, rows) * columns)
            for first in stride(from: 0, to: rows, by: block) {
                let count = min(block, rows - first)
                for row in 0..<count {
                    for column in 0..<columns {
                        let value = Double(x[(first + row) * columns + column])
                        centered[row * columns + column] = value - means[column]
                    }
                }
                cblas_dsyrk(
                    CblasRowMajor, CblasUpper, CblasTrans, Int32(columns), Int32(count), 1 / Double(rows - 1), centered,
                    Int32(columns), 1, &covariances, Int32(columns))
            }
            return (means, covariances)
        }
    }
}
