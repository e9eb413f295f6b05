import CKernels
import Synchronization
import Tensors

/// Weights in a kernel's own layout.
final class PackedWeights: Sendable {
    private let memory: WeightMemory.Block
    /// The same in a second layout, from when somebody needs them: groups of images, or images on a thread each.
    private let second = Mutex<PackedWeights?>(nil)

    init(_ memory: WeightMemory.Block, pack: (UnsafeMutablePointer<Float>) -> Void) {
        self.memory = memory
        pack(memory.pointer)
    }

    var pointer: UnsafePointer<Float> { UnsafePointer(memory.pointer) }

    /// The same weights for `other`, which is a kernel of the same product as the one that these are packed for, and
    /// differs from it in the layout: there is one second layout.
    func repacked<Kernel: ProductKernel>(from kernel: Kernel, for other: Kernel) -> PackedWeights {
        second.withLock { second in
            if let second { return second }
            guard let kernel = kernel as? any UnpackableKernel else {
                preconditionFailure("PackedWeights: \(Kernel.name) weights have one layout")
            }
            let made = kernel.repack(self, for: other)
            second = made
            return made
        }
    }
}

/// Gives packed weights places one behind the other in blocks so large that they lie in large pages: from small pages, a
/// model that reads all of its weights for one image would wait for their addresses too (two threads, a Zen 4:
/// EfficientNet-B0 4.98 ms, so 4.85; DenseNet-121 20.7 and 19.8).
struct WeightMemory {
    /// A range of a storage, which lives as long as the range is held.
    struct Block: Sendable {
        let storage: TensorStorage
        let offset: Int

        var pointer: UnsafeMutablePointer<Float> { storage.pointer + offset }
    }

    /// Storages with the number of their elements that are taken, from the first on.
    private var storages: [(storage: TensorStorage, taken: Int)] = []

    /// Elements of what is large enough for a storage of its own, which is also the first storage's size, and of the other
    /// storages: memory that nobody has touched costs nothing.
    private static let (large, shared) = (1 << 20, 1 << 22)

    mutating func take(_ count: Int) -> Block {
        // Each begins on a cache line of its own.
        let size = (count + 15) & ~15
        guard size < Self.large else { return Block(storage: TensorStorage(count: count), offset: 0) }
        if let index = storages.firstIndex(where: { $0.taken + size <= $0.storage.count }) {
            defer { storages[index].taken += size }
            return Block(storage: storages[index].storage, offset: storages[index].taken)
        }
        let storage = TensorStorage(count: storages.isEmpty ? Self.large : Self.shared)
        storages.append((storage, size))
        return Block(storage: storage, offset: 0)
    }
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
        var memory = WeightMemory()
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
            let packed = PackedWeights(take(kernel.weightCount())) { kernel.pack(values, $0) }
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

    private func take(_ count: Int) -> WeightMemory.Block { state.withLock { $0.memory.take(count) } }

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
