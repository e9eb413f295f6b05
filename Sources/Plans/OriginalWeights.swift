import CKernels
import Foundation
import Tensors

/// How to compute a product's weights, to the bit, from its packed ones: so that a model that is only run need not keep
/// both.
///
/// Factors, of a batch norm say, are multiplied into packed weights, and Winograd's are transformed; what is lost by that is
/// kept, in two bits or eight for each weight.
struct OriginalWeights: Sendable {
    /// Fewer weights than these stay where they are: their memory is not worth the work.
    static let least = 1 << 14

    private let packed: PackedWeights
    private let kernel: any UnpackableKernel
    private let losses: RoundingLosses?
    /// Which weight of a row each packed one is; `nil` for the same.
    private let order: [Int]?
    private let rows: Int

    /// - Parameter values: the weights with everything multiplied in, which were packed.
    /// - Returns: `nil` where the original weights cannot be computed: those of other kernels, weights with factors for
    ///   their inputs, or with factors and in another order, and such of which factors leave next to nothing.
    init?(
        _ weights: ProductWeights, _ packed: PackedWeights, _ kernel: some ProductKernel, values: UnsafePointer<Float>
    ) {
        guard weights.base.count >= Self.least, let kernel = kernel as? any UnpackableKernel, kernel.unpacks,
            weights.inputScale == nil
        else { return nil }
        (self.packed, self.kernel, order, rows) = (packed, kernel, weights.inputOrder, weights.outputs)
        var kept = values, unpacked: TensorStorage?
        if !kernel.unpacksExactly {
            let storage = TensorStorage(onceFor: weights.base.count)
            parallelFor(Int(kernel.panels), grain: 1) {
                kernel.unpack(packed.pointer, Int64($0), Int64($1), storage.pointer)
            }
            (kept, unpacked) = (UnsafePointer(storage.pointer), storage)
        }
        defer { withExtendedLifetime(unpacked) {} }
        if weights.outputScale == nil, kept == values || memcmp(kept, values, 4 * weights.base.count) == 0 {
            losses = nil
            return
        }
        guard weights.inputOrder == nil,
            let losses = RoundingLosses(weights, keptAs: kept, bits: type(of: kernel).lossBits)
        else { return nil }
        self.losses = losses
    }

    /// Writes the weights in their own layout. On this thread alone: whoever waits for them may hold what another thread
    /// waits for.
    func restore(to target: UnsafeMutablePointer<Float>) {
        // As it was when the losses were noted.
        withLoopArithmetic {
            kernel.unpack(packed.pointer, 0, kernel.panels, target)
            losses?.undo(target)
        }
        guard let order else { return }
        var row = [Float](repeating: 0, count: order.count)
        for first in stride(from: 0, to: rows * order.count, by: order.count) {
            for (index, original) in order.enumerated() { row[original] = target[first + index] }
            (target + first).update(from: row, count: row.count)
        }
    }
}

/// What rows of weights lose when each is kept as about itself times a factor.
private struct RoundingLosses: Sendable {
    private let scale: [Float]
    private let depth: Int
    private let bits: Int32
    /// `bits` for each weight; a row begins on a byte of its own.
    private let codes: [UInt8]
    /// The weights that the codes cannot express, and where they are.
    private let indices: [UInt32]
    private let others: [Float]

    /// - Returns: `nil` if these are many.
    init?(_ weights: ProductWeights, keptAs kept: UnsafePointer<Float>, bits: Int32) {
        let (rows, depth, base) = (weights.outputs, weights.depth, weights.base)
        let scale = weights.outputScale ?? [Float](repeating: 1, count: rows)
        let rowBytes = Self.rowBytes(depth, bits)
        var beyond = [Int64](repeating: 0, count: rows)
        codes = [UInt8](unsafeUninitializedCapacity: rows * rowBytes) { codes, count in
            let codes = codes.baseAddress!
            beyond.withUnsafeMutableBufferPointer { beyond in
                let beyond = beyond.baseAddress!
                parallelFor(rows, grain: rowGrain(depth)) { begin, end in
                    for row in begin..<end {
                        beyond[row] = ck_scale_losses_f32(
                            scale[row], base.pointer + row * depth, kept + row * depth, Int64(depth), bits,
                            codes + row * rowBytes)
                    }
                }
            }
            count = rows * rowBytes
        }
        // Eight bytes each instead of four.
        guard beyond.reduce(0, +) <= base.count / 8, base.count <= UInt32.max else { return nil }
        var indices: [UInt32] = []
        for row in 0..<rows where beyond[row] > 0 {
            for column in 0..<depth {
                let isBeyond =
                    bits == 8
                    ? codes[row * rowBytes + column] == 255
                    : codes[row * rowBytes + column / 4] >> (column % 4 * 2) & 3 == 3
                if isBeyond { indices.append(UInt32(row * depth + column)) }
            }
        }
        others = base.withUnsafeScalars { base in indices.map { base[Int($0)] } }
        (self.scale, self.depth, self.bits, self.indices) = (scale, depth, bits, indices)
    }

    private static func rowBytes(_ depth: Int, _ bits: Int32) -> Int { (depth * Int(bits) + 7) / 8 }

    /// Turns what was kept back into the weights.
    func undo(_ rows: UnsafeMutablePointer<Float>) {
        let rowBytes = Self.rowBytes(depth, bits)
        codes.withUnsafeBufferPointer { codes in
            for (row, factor) in scale.enumerated() {
                let weights = rows + row * depth
                ck_scale_undo_f32(
                    factor, weights, codes.baseAddress! + row * rowBytes, bits, weights, Int64(depth))
            }
        }
        for (index, value) in zip(indices, others) { rows[Int(index)] = value }
    }
}
