import CKernels
import Tensors

/// Pooling of images.
struct PoolStep: Step {
    enum Kind: String { case max = "max_pool2d", average = "avg_pool2d", adaptiveAverage = "adaptive_avg_pool2d" }

    let scratchSize = 0
    let multiplyAdds = 0
    private let kind: Kind
    private let shape: ck_pool2d_shape
    private let x: Operand
    private let y: Operand

    var kernel: String { kind.rawValue }

    init(_ kind: Kind, _ geometry: Pool2dGeometry, countsPadding: Bool, _ node: Graph.Node, _ layout: MemoryLayout) {
        self.kind = kind
        x = Operand(node.inputs[0], layout)
        y = Operand(node.output, layout)
        var shape = geometry.shape(input: x.shape, output: y.shape, countsPadding: countsPadding)
        (shape.x_stride, shape.y_stride) = (Int64(x.rowStride), Int64(y.rowStride))
        self.shape = shape
    }

    /// The mean of a whole image: the channels are shared among the threads.
    private func averageChannels(_ execution: Execution) {
        let (source, target) = (execution.pointer(x.location), execution.pointer(y.location))
        let block = 64
        let blocks = (shape.c + Int64(block) - 1) / Int64(block)
        execution.forEachPart(blocks, grain: Int64(rowGrain(block * Int(shape.h * shape.w)))) { begin, end, _ in
            let first = Int(begin) * block
            var part = shape
            part.c = min(shape.c, end * Int64(block)) - Int64(first)
            ck_adaptive_avg_pool_forward_f32(&part, 0, 1, source + first, target + first)
        }
    }

    func run(_ execution: Execution) {
        let (x, y) = (execution.pointer(x.location), execution.pointer(y.location))
        if kind == .adaptiveAverage, self.y.rows == 1 {
            averageChannels(execution)
            return
        }
        let work = Int(shape.ow * shape.c * max(1, shape.kh * shape.kw))
        withUnsafePointer(to: shape) { shape in
            execution.forEachPart(self.shape.oh, grain: Int64(max(1, elementwiseGrain / work))) { begin, end, _ in
                switch kind {
                case .max: ck_max_pool_forward_f32(shape, begin, end, x, y, nil)
                case .average: ck_avg_pool_forward_f32(shape, begin, end, x, y)
                case .adaptiveAverage: ck_adaptive_avg_pool_forward_f32(shape, begin, end, x, y)
                }
            }
        }
    }
}
