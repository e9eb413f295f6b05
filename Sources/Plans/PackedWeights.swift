import CKernels
import Synchronization
import Tensors

/// Weights in a kernel's own layout.
final class PackedWeights: Sendable {
    private let storage: TensorStorage

    init(count: Int, pack: (UnsafeMutablePointer<Float>) -> Void) {
        storage = TensorStorage(count: count)
        pack(storage.pointer)
    }

    var pointer: UnsafePointer<Float> { UnsafePointer(storage.pointer) }
}

/// Packed weights by what went into them, so that plans for other image sizes share them.
package final class PackedWeightCache: Sendable {
    private struct Key: Hashable {
        let kernel: String
        let layout: [Int]
        let base: ObjectIdentifier
        let factors: [Int]
        let shape: [Int]
    }

    /// With the tensor that the weights come from, whose identity must not become another one's.
    private let weights = Mutex<[Key: (packed: PackedWeights, base: Tensor)]>([:])

    package init() {}

    /// A product's weights in a kernel's layout, packed now unless they are there.
    func weights(_ product: Product, _ kernel: some ProductKernel) -> PackedWeights {
        let base = product.weights.base
        let key = Key(
            kernel: type(of: kernel).name, layout: kernel.layout, base: ObjectIdentifier(base.storage),
            factors: product.weights.factors, shape: [Int](base.shape))
        if let known = weights.withLock({ $0[key]?.packed }) { return known }
        let packed = PackedWeights(count: kernel.weightCount()) { target in
            product.weights.withValues { kernel.pack($0, target) }
        }
        // Another thread may have packed too: the first one's stay.
        return weights.withLock { table in
            if let known = table[key]?.packed { return known }
            table[key] = (packed, base)
            return packed
        }
    }
}
