import CKernels
import Tensors

/// Multi-head attention over packed projections.
struct AttentionStep: Step {
    let kernel = "attention"
    let multiplyAdds: Int
    private let x: Operand
    private let y: Operand
    private let factors: [Float]
    /// Bias and masks in the kernel's layout.
    private let addends: TensorStorage
    private let parallel: ck_attention
    private let serial: ck_attention

    /// `nil` if bias, mask or factors depend on the image, or memory lies otherwise than the kernel wants.
    init?(_ operation: AttentionOperation, _ node: Graph.Node, _ layout: MemoryLayout, threads: Int) {
        guard node.inputs.dropFirst().allSatisfy({ $0.constant != nil }) else { return nil }
        x = Operand(node.inputs[0], layout)
        y = Operand(node.output, layout)
        guard x.isDense, y.isDense else { return nil }
        var constants = node.inputs.dropFirst().map { $0.constant! }[...]
        var attention = ck_attention()
        attention.batch = Int64(x.shape[0])
        attention.tokens = Int64(x.shape[1])
        attention.heads = Int64(x.shape[3])
        attention.depth = Int64(x.shape[4])
        attention.x_stride = 3 * attention.heads * attention.depth
        attention.y_stride = attention.heads * attention.depth
        attention.windows = 1
        switch operation.similarity {
        case .dot(let scale):
            attention.scale = scale
            factors = [Float](repeating: 1, count: Int(attention.heads))
        case .cosine:
            attention.cosine = true
            attention.scale = 1
            factors = constants.removeFirst().scalars
        }
        let bias = operation.hasBias ? constants.removeFirst() : nil
        let mask = operation.hasMask ? constants.removeFirst() : nil
        (attention.has_bias, attention.has_mask) = (bias != nil, mask != nil)
        if let mask { attention.windows = Int64(mask.shape[0]) }
        var (parallel, serial) = (attention, attention)
        ck_attention_prepare(&parallel, Int64(threads))
        ck_attention_prepare(&serial, 1)
        (self.parallel, self.serial) = (parallel, serial)
        addends = withUnsafePointer(to: parallel) { attention in
            let addends = TensorStorage(count: Int(ck_attention_addends(attention)))
            ck_attention_pack(attention, bias?.pointer, mask?.pointer, addends.pointer)
            return addends
        }
        multiplyAdds = operation.multiplyAdds(node.inputs.map(\.shape), output: node.output.shape)
    }

    var scratchSize: Int { Int(max(parallel.scratch, serial.scratch)) }

    func run(_ execution: Execution) {
        let (x, y) = (execution.pointer(x.location), execution.pointer(y.location))
        withUnsafePointer(to: execution.isParallel ? parallel : serial) { attention in
            factors.withUnsafeBufferPointer { factors in
                execution.forEachShare(attention.pointee.units) { units, part in
                    let scratch = execution.scratch(ofPart: part)
                    while let (begin, end) = units.next() {
                        ck_attention_run(
                            attention, x, factors.baseAddress, addends.pointer, y, begin, end, scratch)
                    }
                }
            }
        }
    }
}
