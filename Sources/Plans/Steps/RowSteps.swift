import CKernels
import Tensors

/// Copies rows to a place of other row stride: a part of a concatenation that could not be written there at once.
struct CopyStep: Step {
    let kernel = "copy"
    let scratchSize = 0
    let multiplyAdds = 0
    let from: Operand
    let to: Operand

    func run(_ execution: Execution) {
        let (source, target) = (execution.pointer(from.location), execution.pointer(to.location))
        execution.forEachPart(Int64(from.rows), grain: Int64(rowGrain(from.width))) { begin, end, _ in
            for row in Int(begin)..<Int(end) {
                (target + row * to.rowStride).update(from: source + row * from.rowStride, count: from.width)
            }
        }
    }
}

/// Rows in another order.
struct GatherStep: Step {
    let kernel = "gather_rows"
    let scratchSize = 0
    let multiplyAdds = 0
    let sources: [Int]
    let from: Operand
    let to: Operand

    func run(_ execution: Execution) {
        let (source, target) = (execution.pointer(from.location), execution.pointer(to.location))
        execution.forEachPart(Int64(sources.count), grain: Int64(rowGrain(to.width))) { begin, end, _ in
            for row in Int(begin)..<Int(end) {
                let place = target + row * to.rowStride
                if sources[row] == RowGather.blank {
                    place.update(repeating: 0, count: to.width)
                } else {
                    place.update(from: source + sources[row] * from.rowStride, count: to.width)
                }
            }
        }
    }
}

/// The mean over an image's pixels, from the sums that each thread has added up.
struct MeanStep: Step {
    let kernel = "mean_of_sums"
    let scratchSize = 0
    let multiplyAdds = 0
    let sums: Operand
    let mean: Operand
    let pixels: Int

    func run(_ execution: Execution) {
        let (source, target) = (execution.pointer(sums.location), execution.pointer(mean.location))
        let width = Int64(mean.width)
        ck_affine_f32(1 / Float(pixels), 0, source, target, width)
        // On one thread only the first row has been written.
        for row in 1..<(execution.isParallel ? max(1, sums.rows) : 1) {
            ck_axpy_f32(1 / Float(pixels), source + row * mean.width, target, width)
        }
    }
}

/// A function of each row: `body(x, y, rows)` gets runs of rows that lie one behind the other.
struct RowStep: Step {
    let kernel: String
    let scratchSize = 0
    let multiplyAdds = 0
    let from: Operand
    let to: Operand
    let body: @Sendable (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int64) -> Void

    func run(_ execution: Execution) {
        let (source, target) = (execution.pointer(from.location), execution.pointer(to.location))
        let isDense = from.isDense && to.isDense
        execution.forEachPart(Int64(from.rows), grain: Int64(rowGrain(from.width))) { begin, end, _ in
            if isDense {
                body(source + Int(begin) * from.width, target + Int(begin) * to.width, end - begin)
                return
            }
            for row in Int(begin)..<Int(end) { body(source + row * from.rowStride, target + row * to.rowStride, 1) }
        }
    }
}

/// An operation on two values with rows of the same width, of which the second may have only one row, or one column.
struct BinaryStep: Step {
    let kernel: String
    let scratchSize = 0
    let multiplyAdds = 0
    let operation: ck_binary
    let a: Operand
    let b: Operand
    let y: Operand

    func run(_ execution: Execution) {
        let (a, b, y) = (self.a, self.b, self.y)
        let (left, right, target) = (
            execution.pointer(a.location), execution.pointer(b.location), execution.pointer(y.location)
        )
        let rightStride = b.rows == 1 ? 0 : b.rowStride
        execution.forEachPart(Int64(y.rows), grain: Int64(rowGrain(y.width))) { begin, end, _ in
            // The result of the kernel is dense.
            let run = y.isDense ? Int(end - begin) : 1
            for row in stride(from: Int(begin), to: Int(end), by: run) {
                var part = ck_binary_shape(
                    rows: Int64(run), cols: Int64(y.width), a_row: Int64(a.rowStride), a_col: 1,
                    b_row: Int64(rightStride), b_col: b.width == y.width ? 1 : 0)
                ck_binary_f32(
                    operation, &part, left + row * a.rowStride, right + row * rightStride, target + row * y.rowStride)
            }
        }
    }
}
