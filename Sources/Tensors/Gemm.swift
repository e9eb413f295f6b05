import COpenBLAS

/// One operand of a matrix product: row-major memory, perhaps read transposed.
struct MatrixOperand {
    let pointer: UnsafePointer<Float>
    /// Elements from one stored row to the next.
    let stride: Int
    let transposed: Bool

    init(_ pointer: UnsafePointer<Float>, stride: Int, transposed: Bool = false) {
        self.pointer = pointer
        self.stride = stride
        self.transposed = transposed
    }

    /// The operand from row `row` on, counted after the transposition.
    func fromRow(_ row: Int) -> MatrixOperand {
        MatrixOperand(pointer + (transposed ? row : row * stride), stride: stride, transposed: transposed)
    }

    /// The operand from column `column` on, counted after the transposition.
    func fromColumn(_ column: Int) -> MatrixOperand {
        MatrixOperand(pointer + (transposed ? column * stride : column), stride: stride, transposed: transposed)
    }
}

/// `c[m, n] = alpha a[m, k] b[k, n] + beta c` on the calling thread.
func gemm(
    m: Int, n: Int, k: Int, alpha: Float = 1, _ a: MatrixOperand, _ b: MatrixOperand, beta: Float = 0,
    _ c: UnsafeMutablePointer<Float>, stride: Int
) {
    Engine.singleThreadedBLAS
    guard m > 0, n > 0 else { return }
    cblas_sgemm(
        CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
        Int32(m), Int32(n), Int32(k), alpha, a.pointer, Int32(a.stride), b.pointer, Int32(b.stride), beta,
        c, Int32(stride))
}

/// The same over the engine's threads, split along the rows or the columns of `c`.
func parallelGemm(
    m: Int, n: Int, k: Int, alpha: Float = 1, _ a: MatrixOperand, _ b: MatrixOperand, beta: Float = 0,
    _ c: UnsafeMutablePointer<Float>, stride: Int
) {
    // A thread's share should be worth some tens of microseconds.
    let unit = 16
    let grain = { (other: Int) in max(1, (1 << 20) / max(1, unit * other * k)) }
    if m >= n {
        parallelFor((m + unit - 1) / unit, grain: grain(n)) { begin, end in
            let low = begin * unit, high = min(m, end * unit)
            gemm(
                m: high - low, n: n, k: k, alpha: alpha, a.fromRow(low), b, beta: beta, c + low * stride,
                stride: stride)
        }
    } else {
        parallelFor((n + unit - 1) / unit, grain: grain(m)) { begin, end in
            let low = begin * unit, high = min(n, end * unit)
            gemm(m: m, n: high - low, k: k, alpha: alpha, a, b.fromColumn(low), beta: beta, c + low, stride: stride)
        }
    }
}
