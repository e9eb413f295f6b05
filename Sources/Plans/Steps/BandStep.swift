import CKernels
import Tensors

/// Products that follow each other, computed for some rows of the image after the others, a band. Each thread has a part of
/// the last product's rows, and goes through the bands of that part. What one product makes for the next stays in a buffer in
/// the second-level cache: the rows that the band reads, of which the first may be left from the band before.
struct BandStep: Step {
    let kernel = "bands"
    let detail: String
    let multiplyAdds: Int
    let scratchSize: Int
    private let x: Operand
    private let y: Operand
    private let residual: Operand?
    /// Where the sums over the pixels of the last product go: one row for each thread.
    private let sums: Operand?
    private let stages: [any BandStage]
    /// Between two stages.
    private let buffers: [Buffer]
    /// The bands of each thread's part, and those of the whole image.
    private let parallel: [[Band]]
    private let serial: [Band]

    private struct Buffer {
        /// Where it begins in a thread's scratch memory.
        let offset: Int
        /// Elements of a row of the image.
        let line: Int
    }

    /// - Parameter makeStage: makes what computes a node's product, for rows of pixels at these distances and the bands' rows.
    init(
        _ nodes: [Graph.Node], _ layout: MemoryLayout, threads: Int,
        makeStage: (Graph.Node, ck_strides, [Band.Rows]) -> any BandStage
    ) {
        let last = nodes.last!, height = last.output.lines.count
        let (x, y) = (Operand(nodes[0].inputs[0], layout), Operand(last.output, layout))
        let residual = last.product!.hasResidual ? Operand(last.inputs[1], layout) : nil
        (self.x, self.y, self.residual) = (x, y, residual)
        sums = last.sums.map { Operand($0, layout) }
        multiplyAdds = nodes.map { $0.product!.multiplyAdds(rows: $0.output.rows) }.reduce(0, +)
        let parallel = (0..<threads).map {
            Band.bands(of: height * $0 / threads..<height * ($0 + 1) / threads, nodes)
        }
        let serial = Band.bands(of: 0..<height, nodes)
        let bands = Array((parallel + [serial]).joined())
        (self.parallel, self.serial) = (parallel, serial)
        let stages = nodes.enumerated().map { index, node in
            let isLast = index == nodes.count - 1
            let strides = ck_strides(
                x: Int64(index == 0 ? x.rowStride : node.inputs[0].width),
                y: Int64(isLast ? y.rowStride : node.output.width),
                residual: Int64(isLast ? residual?.rowStride ?? 0 : 0))
            return makeStage(node, strides, bands.map { $0.rows[index] })
        }
        self.stages = stages
        detail = stages.map(\.summary).joined(separator: ", ")
        var end = (stages.map(\.scratchSize).max()! + 15) & ~15
        buffers = nodes.indices.dropLast().map { index in
            let line = nodes[index].output.lines.pixels * nodes[index].output.width
            let height = bands.map { $0.rows[index + 1].input.count }.max()!
            defer { end += (height * line + 15) & ~15 }
            return Buffer(offset: end, line: line)
        }
        scratchSize = end
    }

    func run(_ execution: Execution) {
        if let sums {
            let count = execution.isParallel ? sums.count : sums.width
            execution.pointer(sums.location).update(repeating: 0, count: count)
        }
        guard execution.isParallel else { return run(serial, part: 0, execution) }
        execution.forEachPart(Int64(parallel.count)) { begin, end, part in
            for number in begin..<end { run(parallel[Int(number)], part: part, execution) }
        }
    }

    private func run(_ bands: [Band], part: Int, _ execution: Execution) {
        let scratch = execution.scratch(ofPart: part)
        let (x, y) = (execution.pointer(x.location), execution.pointer(y.location))
        let residual = residual.map { execution.pointer($0.location) }
        let sums = sums.map { execution.pointer($0.location) + part * $0.width }
        for band in bands {
            for (index, rows) in band.rows.enumerated() {
                let stage = stages[index]
                let from =
                    index > 0 ? scratch + buffers[index - 1].offset : x + rows.input.lowerBound * Int(stage.lines.x)
                var places = BandPlaces(x: from, y: y, residual: nil, sums: nil, scratch: scratch)
                if index < buffers.count {
                    let buffer = buffers[index], kept = band.kept[index], first = scratch + buffer.offset
                    if kept.lowerBound > 0 {
                        first.update(from: first + kept.lowerBound * buffer.line, count: kept.count * buffer.line)
                    }
                    places.y = first + kept.count * buffer.line
                } else {
                    places.y += rows.output.lowerBound * Int(stage.lines.y)
                    places.residual = residual.map { $0 + rows.output.lowerBound * Int(stage.lines.residual) }
                    places.sums = sums
                }
                if !rows.output.isEmpty { stage.run(rows, places, execution) }
            }
        }
    }
}

/// Some rows of each product of a ``BandStep``.
struct Band {
    /// Rows of one product.
    struct Rows: Sendable {
        /// Which of its input it reads, and which of its output it makes: those that are not there yet.
        let input: Range<Int>
        let output: Range<Int>
    }

    /// Of each product.
    private(set) var rows: [Rows]
    /// Of each buffer: the rows, counted from its beginning, that move there since they are read again.
    private(set) var kept: [Range<Int>]

    /// Elements of all buffers together, about: they stay in the second-level cache beside weights, inputs and outputs
    /// (MobileNetV2 and EfficientNet-B0, of 1 MB for each core: the same with 3/4 and 3/2 of it, with 3/8 2 % slower).
    private static let mostElements = 1 << 17

    /// The bands of a part of the last product's rows.
    static func bands(of part: Range<Int>, _ nodes: [Graph.Node]) -> [Band] {
        guard !part.isEmpty else { return [] }
        var height = 1
        while height < part.count, elements(height + 1, nodes) <= mostElements { height += 1 }
        let count = (part.count + height - 1) / height
        var held = [Range<Int>](repeating: 0..<0, count: nodes.count - 1)
        return (0..<count).map { number in
            let (first, last) = (part.count * number / count, part.count * (number + 1) / count)
            return Band(part.lowerBound + first..<part.lowerBound + last, nodes, &held)
        }
    }

    /// - Parameter held: the rows that each buffer holds before this band, and behind it.
    private init(_ output: Range<Int>, _ nodes: [Graph.Node], _ held: inout [Range<Int>]) {
        (rows, kept) = ([], held.map { 0..<$0.count })
        var output = output
        for (index, node) in nodes.enumerated().reversed() {
            let input = node.product!.geometry.inputLines(output, height: node.inputs[0].lines.count)
            rows.insert(Rows(input: input, output: output), at: 0)
            guard index > 0 else { return }
            output = input
            if input.isEmpty { continue }
            let buffer = held[index - 1], there = buffer.clamped(to: input)
            kept[index - 1] =
                there.isEmpty ? 0..<0 : there.lowerBound - buffer.lowerBound..<there.upperBound - buffer.lowerBound
            if !there.isEmpty { output = there.upperBound..<input.upperBound }
            held[index - 1] = input
        }
    }

    /// Elements of all buffers for a band of so many rows.
    private static func elements(_ height: Int, _ nodes: [Graph.Node]) -> Int {
        var height = height, elements = 0
        for node in nodes.dropFirst().reversed() {
            let geometry = node.product!.geometry, x = node.inputs[0]
            height = min(x.lines.count, (height - 1) * geometry.strideHeight + geometry.reach)
            elements += height * x.lines.pixels * x.width
        }
        return elements
    }
}

/// Where the rows of a product are that a band reads and makes.
struct BandPlaces {
    let x: UnsafeMutablePointer<Float>
    var y: UnsafeMutablePointer<Float>
    var residual: UnsafeMutablePointer<Float>?
    /// To which the sums over the pixels are added.
    var sums: UnsafeMutablePointer<Float>?
    let scratch: UnsafeMutablePointer<Float>
}

/// One product of a ``BandStep``.
protocol BandStage: Sendable {
    /// For descriptions.
    var summary: String { get }
    /// Elements from one row of the image to the next.
    var lines: ck_strides { get }
    var scratchSize: Int { get }
    func run(_ rows: Band.Rows, _ places: BandPlaces, _ execution: Execution)
}

struct ProductBandStage<Kernel: ProductKernel>: BandStage {
    let summary: String
    let lines: ck_strides
    let scratchSize: Int
    private let parameters: ProductParameters
    /// For the bands' rows, of which many have the same shape.
    private let kernels: [Shape: Kernel]
    private let geometry: Conv2dGeometry

    private struct Shape: Hashable {
        let input: Int
        let output: Int
        let padTop: Int

        init(_ rows: Band.Rows, _ geometry: Conv2dGeometry) {
            (input, output) = (rows.input.count, rows.output.count)
            padTop = max(0, geometry.padHeight - rows.output.lowerBound * geometry.strideHeight)
        }
    }

    init(
        _ product: Product, _ node: Graph.Node, _ layout: MemoryLayout, _ strides: ck_strides, rows: [Band.Rows],
        cache: PackedWeightCache, configure: (inout Kernel) -> Void = { _ in }
    ) {
        let (x, y) = (node.inputs[0], node.output)
        let outputs = product.weights.outputs
        var kernels: [Shape: Kernel] = [:]
        for rows in rows where !rows.output.isEmpty {
            let key = Shape(rows, product.geometry)
            if kernels[key] != nil { continue }
            var shape: ck_conv2d_shape
            if product.isPointwise {
                let pixels = rows.output.count * y.lines.pixels
                shape = product.geometry.shape(input: [1, 1, pixels, x.width], output: [1, 1, pixels, outputs])
            } else {
                shape = product.geometry.shape(
                    input: [1, key.input, x.lines.pixels, x.width], output: [1, key.output, y.lines.pixels, outputs])
                shape.pad_top = Int64(key.padTop)
            }
            var kernel = Kernel(shape, strides, product.epilogue)
            configure(&kernel)
            kernels[key] = kernel.prepared(threads: 1)
        }
        // All have the same layout of weights, as `configure` has to see to where it depends on more than the product.
        let first = kernels[Shape(rows.first { !$0.output.isEmpty }!, product.geometry)]!
        parameters = ProductParameters(product, node, layout, cache.weights(product, first))
        self.kernels = kernels
        geometry = product.geometry
        summary = "\(first.algorithm) \(product.summary)"
        scratchSize = kernels.values.map { Int($0.scratch) }.max()!
        lines = ck_strides(
            x: strides.x * Int64(x.lines.pixels), y: strides.y * Int64(y.lines.pixels),
            residual: strides.residual * Int64(y.lines.pixels))
    }

    func run(_ rows: Band.Rows, _ places: BandPlaces, _ execution: Execution) {
        let kernel = kernels[Shape(rows, geometry)]!
        let (operands, packed) = parameters.operands(
            execution, x: places.x, y: places.y, residual: places.residual)
        kernel.run(operands, ProductExtras(packed: packed, sums: places.sums), 0, kernel.units, places.scratch)
    }
}
