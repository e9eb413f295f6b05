import CKernels
import Tensors

extension Graph {
    /// Runs of products, by the numbers of their nodes, that are computed together for some rows of the image after the others,
    /// a band: what one makes for the next is then read from the second-level cache, where whole maps have no room. See
    /// ``BandStep``.
    ///
    /// - Parameter end: the number of the first node that is in none.
    func bands(before end: Int, threads: Int) -> [Range<Int>] {
        var bands: [Range<Int>] = []
        var first = 0
        while first < end {
            var last = first
            while last + 1 < end, continuesBand(first...last, threads: threads) { last += 1 }
            if last > first { bands.append(first..<last + 1) }
            first = last + 1
        }
        return bands
    }

    /// Elements of a map that has no room in the second-level cache beside what else is there.
    private static let leastBandedMap = 1 << 18
    /// Multiply-adds for each element of a map that it is fetched as fast as.
    private static let mostBandedWork = 80
    /// Weights that have, beside a band's rows.
    private static let mostBandedWeights = 5 << 14

    /// Whether the node behind some that are computed in bands should be too.
    private func continuesBand(_ range: ClosedRange<Int>, threads: Int) -> Bool {
        let (last, next) = (nodes[range.upperBound], nodes[range.upperBound + 1])
        guard let product = last.bandProduct, let nextProduct = next.bandProduct, product.combine == .none,
            last.sums == nil, soleConsumer(of: last.output) === next, next.inputs[0] === last.output
        else { return false }
        // A map that has room in the cache is as well computed at once, and so is one whose elements take longer to compute
        // and use than to fetch: the processor fetches them ahead.
        let work = product.multiplyAdds(rows: last.output.rows) + nextProduct.multiplyAdds(rows: next.output.rows)
        guard last.output.count >= Self.leastBandedMap, work <= Self.mostBandedWork * last.output.count else {
            return false
        }
        // What is read again for each band must have room beside it.
        let weights = nodes[range].compactMap { $0.product?.weights.base.count }.reduce(0, +)
        guard weights + nextProduct.weights.base.count <= Self.mostBandedWeights else { return false }
        // The rows that two neighbours' parts have in common are computed twice.
        let common = nodes[range.lowerBound + 1...range.upperBound + 1].compactMap { $0.product?.commonLines }.reduce(
            0, +)
        return next.output.lines.count >= 8 * max(1, common) * threads
    }
}

extension Graph.Node {
    /// The product, if it can be computed in bands.
    fileprivate var bandProduct: Product? {
        let x = inputs[0]
        guard let product, product.inputRows == nil, product.outputRows == nil, x.constant == nil else { return nil }
        // Between them may be a change of shape.
        if product.isPointwise { return x.lines == output.lines ? product : nil }
        let geometry = product.geometry
        // With more padding an output row might lie in it alone.
        guard x.isImage, output.isImage, geometry.padHeight < geometry.reach else { return nil }
        if product.isDepthwise || product.suitsGrouped(self) { return product }
        let shape = geometry.shape(input: x.shape, output: output.shape)
        return withUnsafePointer(to: shape) { ck_winograd_suits($0) } ? nil : product
    }
}

extension Graph.Value {
    fileprivate var isImage: Bool { shape.count == 4 && shape[0] == 1 }

    /// Rows of the image, and the pixels of each: of a sequence every element is a row.
    var lines: (count: Int, pixels: Int) { isImage ? (shape[1], shape[2]) : (rows, 1) }
}

extension Product {
    /// Rows of the input that two neighbouring rows of the output have in common.
    fileprivate var commonLines: Int { max(0, geometry.reach - geometry.strideHeight) }
}

extension Conv2dGeometry {
    /// Rows of the input under one row of the output.
    var reach: Int { dilationHeight * (kernelHeight - 1) + 1 }

    /// The rows of an input of `height` rows that rows of the output read; those of the padding are left out.
    func inputLines(_ output: Range<Int>, height: Int) -> Range<Int> {
        guard !output.isEmpty else { return 0..<0 }
        let first = output.lowerBound * strideHeight - padHeight
        let end = (output.upperBound - 1) * strideHeight - padHeight + reach
        return max(0, first)..<min(height, end)
    }
}
