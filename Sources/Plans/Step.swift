import CKernels
import Tensors

/// One step of a plan: what it reads and writes, and how it runs.
///
/// A step that can run on a whole batch at once (``runsOnBatches``) does so where it has `execution.batch` rows.
protocol Step: Sendable {
    /// The kernel's name, for descriptions.
    var kernel: String { get }
    /// Elements of scratch memory that each thread needs.
    var scratchSize: Int { get }
    /// Multiply-adds for one image.
    var multiplyAdds: Int { get }

    /// What is merged into the step, for descriptions.
    var detail: String { get }

    func run(_ execution: Execution)
}

extension Step {
    var detail: String { "" }
}

/// A step that runs on the rows of a whole batch at once: its values have one row for each image.
protocol BatchStep: Step {
    /// Elements of scratch memory that each thread needs for a batch of this size.
    func scratchSize(batch: Int, threads: Int) -> Int

    func runOnBatch(_ execution: Execution)
}

/// A value's place with its extent.
struct Operand: Sendable {
    let location: MemoryLayout.Location
    let rows: Int
    let width: Int
    let rowStride: Int
    let imageStride: Int
    let shape: [Int]

    init(_ value: Graph.Value, _ layout: MemoryLayout) {
        let place = layout.place(of: value)
        location = place.location
        shape = value.shape
        rows = value.rows
        width = value.width
        rowStride = value.rows == 1 ? value.width : place.rowStride
        imageStride = place.imageStride
    }

    private init(_ other: Operand, location: MemoryLayout.Location, rowStride: Int) {
        self.location = location
        (rows, width, shape) = (other.rows, other.width, other.shape)
        self.rowStride = rowStride
        imageStride = other.imageStride
    }

    /// A value of this extent at another place.
    func placed(at location: MemoryLayout.Location, rowStride: Int) -> Operand {
        Operand(self, location: location, rowStride: rowStride)
    }

    var isDense: Bool { rowStride == width }
    var count: Int { rows * width }
}
