import CKernels
import Tensors

/// One step of a plan: what it reads and writes, and how it runs.
protocol Step: Sendable {
    /// The kernel's name, for descriptions: on all threads, and on one.
    var kernel: String { get }
    var serialKernel: String { get }
    /// Elements of scratch memory that each thread needs.
    var scratchSize: Int { get }
    /// Multiply-adds for one image.
    var multiplyAdds: Int { get }

    /// What is merged into the step, for descriptions.
    var detail: String { get }

    func run(_ execution: Execution)

    /// The step as it computes all images of a group together; `nil` where it cannot, or image by image is faster.
    func onGroup(of images: Int, threads: Int) -> (any Step)?
}

extension Step {
    var serialKernel: String { kernel }
    var detail: String { "" }

    func onGroup(of images: Int, threads: Int) -> (any Step)? { nil }
}

/// A step that runs on a group of images.
enum GroupStep: Sendable {
    case together(any Step)
    case imageByImage(any Step)

    init(_ step: any Step, images: Int, threads: Int) {
        self = step.onGroup(of: images, threads: threads).map(GroupStep.together) ?? .imageByImage(step)
    }

    var scratchSize: Int { step.scratchSize }

    /// The step that computes all images together, if one does.
    var together: (any Step)? { if case .together(let step) = self { step } else { nil } }

    private var step: any Step {
        switch self {
        case .together(let step), .imageByImage(let step): step
        }
    }

    func run(_ execution: Execution) {
        switch self {
        case .together(let step): step.run(execution)
        case .imageByImage(let step): execution.forEachImage(step.run)
        }
    }
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

    /// The distance of rows where those of all images of a group follow each other; `nil` where they do not.
    var groupRowStride: Int? {
        let stride = rows == 1 ? imageStride : rowStride
        return stride * rows == imageStride && stride > 0 ? stride : nil
    }

    var count: Int { rows * width }
}
