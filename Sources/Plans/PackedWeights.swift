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
        let base: UInt64
        let factors: [Int]
        let shape: [Int]
    }

    private struct State {
        var packed: [Key: PackedWeights] = [:]
        /// How to compute weights from packed ones, by the weights' contents.
        var originals: [UInt64: OriginalWeights] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// A product's weights in a kernel's layout, packed now unless they are there.
    func weights(_ product: Product, _ kernel: some ProductKernel) -> PackedWeights {
        let base = product.weights.base
        let key = Key(
            kernel: type(of: kernel).name, layout: kernel.layout, base: base.storage.contents,
            factors: product.weights.factors, shape: [Int](base.shape))
        if let known = state.withLock({ $0.packed[key] }) { return known }
        let (packed, original) = product.weights.withValues { values in
            let packed = PackedWeights(count: kernel.weightCount()) { kernel.pack(values, $0) }
            return (packed, OriginalWeights(product.weights, packed, kernel, values: values))
        }
        // Another thread may have packed too: the first one's stay.
        return state.withLock { state in
            if let known = state.packed[key] { return known }
            state.packed[key] = packed
            if let original { state.originals[key.base] = original }
            return packed
        }
    }

    /// A tensor with the same elements that has no memory until somebody asks for them, since they can be computed from packed
    /// weights; `nil` where they cannot be, or where the tensor is none whose memory is worth it.
    package func restorable(_ tensor: Tensor) -> Tensor? {
        let storage = tensor.storage
        guard storage.isResident, storage.count >= OriginalWeights.least,
            let original = state.withLock({ $0.originals[storage.contents] })
        else { return nil }
        return Tensor(
            shape: tensor.shape, storage: TensorStorage(replacing: storage) { original.restore(to: $0) })
    }
}
