import CKernels
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A block of 64-byte aligned memory that holds float32 elements; freed blocks are kept for reuse, because fresh pages
/// cost more than most kernels that fill them. A block whose elements can be computed from others has no memory until
/// somebody asks for them.
package final class TensorStorage: @unchecked Sendable {
    package let count: Int
    /// Which value of a trace this stands for; `nil` for memory with elements.
    package let symbol: Int?
    /// The size of the block that goes back to the cache; `nil` for borrowed memory.
    private let bytes: Int?
    /// Null until the elements are restored.
    private let address: Atomic<UnsafeMutablePointer<Float>?>
    /// Writes the elements, until somebody asked for them.
    private let restorer: Mutex<Restorer?>
    /// See ``contents``; 0 until somebody asks.
    private let contentsNumber: Atomic<UInt64>
    /// Whether the memory goes to the system, and not to the cache.
    private let isUnwanted = Atomic(false)

    package typealias Restorer = @Sendable (UnsafeMutablePointer<Float>) -> Void

    private init(
        _ address: UnsafeMutablePointer<Float>?, count: Int, bytes: Int?, symbol: Int? = nil, contents: UInt64 = 0,
        restorer: Restorer? = nil
    ) {
        self.address = Atomic(address)
        self.count = count
        self.bytes = bytes
        self.symbol = symbol
        self.restorer = Mutex(restorer)
        contentsNumber = Atomic(contents)
    }

    /// Memory for `count` elements, not initialized.
    package convenience init(count: Int) {
        let bytes = Self.bytes(count)
        self.init(Self.take(bytes, count), count: count, bytes: bytes)
    }

    /// Memory for `count` elements, not initialized, that goes back to the system when it is not needed any more.
    package convenience init(onceFor count: Int) {
        self.init(count: count)
        isUnwanted.store(true, ordering: .relaxed)
    }

    /// Memory that somebody else owns, and keeps while this lives.
    package convenience init(borrowing pointer: UnsafeMutablePointer<Float>, count: Int) {
        self.init(pointer, count: count, bytes: nil)
    }

    /// No elements: the value `symbol` of a trace.
    convenience init(symbol: Int) { self.init(Self.noElements, count: 0, bytes: nil, symbol: symbol) }

    /// The elements of another storage, without memory until somebody asks for them. The other's memory goes to the system
    /// when nobody holds it any more.
    ///
    /// - Parameter restorer: writes the elements. It may be called from any thread and must not wait for another one.
    package convenience init(replacing other: TensorStorage, restorer: @escaping Restorer) {
        self.init(
            nil, count: other.count, bytes: Self.bytes(other.count), contents: other.contents, restorer: restorer)
        other.isUnwanted.store(true, ordering: .relaxed)
    }

    deinit {
        guard let bytes, let pointer = address.load(ordering: .acquiring) else { return }
        if isUnwanted.load(ordering: .relaxed) {
            BlockCache.shared.discard(UnsafeMutableRawPointer(pointer), bytes: bytes)
        } else {
            BlockCache.shared.give(UnsafeMutableRawPointer(pointer), bytes: bytes)
        }
    }

    package var pointer: UnsafeMutablePointer<Float> { address.load(ordering: .acquiring) ?? restored() }

    /// Whether the memory is this object's own, and not somebody else's.
    var isOwned: Bool { bytes != nil }

    /// Whether the elements are in memory.
    package var isResident: Bool { address.load(ordering: .acquiring) != nil }

    private func restored() -> UnsafeMutablePointer<Float> {
        restorer.withLock { restorer in
            // Another thread may have been first.
            if let pointer = address.load(ordering: .acquiring) { return pointer }
            let pointer = Self.take(bytes!, count)
            restorer!(pointer)
            restorer = nil
            address.store(pointer, ordering: .releasing)
            return pointer
        }
    }

    // MARK: Contents

    /// A number for the elements: storages that have the same number have the same elements, and never had others with it.
    package var contents: UInt64 {
        let known = contentsNumber.load(ordering: .acquiring)
        if known != 0 { return known }
        let fresh = Self.latestContents.wrappingAdd(1, ordering: .relaxed).newValue
        let (isFirst, other) = contentsNumber.compareExchange(
            expected: 0, desired: fresh, ordering: .acquiringAndReleasing)
        return isFirst ? fresh : other
    }

    /// To be called before elements are changed in place.
    func willChange() { contentsNumber.store(0, ordering: .releasing) }

    private static let latestContents = Atomic<UInt64>(0)

    // MARK: Memory

    private nonisolated(unsafe) static let noElements = UnsafeMutablePointer<Float>.allocate(capacity: 1)

    private static func bytes(_ count: Int) -> Int {
        BlockCache.roundedSize(max(1, count) * MemoryLayout<Float>.stride)
    }

    private static func take(_ bytes: Int, _ count: Int) -> UnsafeMutablePointer<Float> {
        BlockCache.shared.take(bytes: bytes).bindMemory(to: Float.self, capacity: max(1, count))
    }
}

/// Free blocks by size, bounded in total.
///
/// A training step frees as many blocks as the one before and takes them again. Once a backward pass has run, free blocks
/// are therefore kept as long as the process does not grow by more than a quarter beyond the most memory that was ever in
/// use at once; fresh pages cost more than most kernels that fill them.
final class BlockCache: Sendable {
    static let shared = BlockCache()

    private struct State: ~Copyable {
        /// Free blocks by size in bytes.
        var free: [Int: Blocks] = [:]
        var freeBytes = 0
        var usedBytes = 0
        /// The most bytes that were in use at once.
        var mostUsedBytes = 0
        var isTraining = false
        /// Counts what is taken and given.
        var time = 0

        /// The free bytes to keep.
        var limit: Int {
            BlockCache.limit + (isTraining ? mostUsedBytes + mostUsedBytes / 4 - usedBytes : 0)
        }

        /// Takes out a block of the size that was not asked for, or given, for the longest time.
        mutating func removeOldest() -> UInt? {
            let oldest = free.filter { !$0.value.addresses.isEmpty }.min { $0.value.time < $1.value.time }
            guard let size = oldest?.key else { return nil }
            freeBytes -= size
            return free[size]!.addresses.removeLast()
        }
    }

    /// The free blocks of one size.
    private struct Blocks {
        var addresses: [UInt] = []
        /// When one of them was last taken or given.
        var time = 0
    }

    private let state = Mutex(State())

    private static let largePage = 2 << 20

    /// Blocks beyond this many bytes go back to the system.
    private static let limit = 96 << 20

    /// Sizes grow in steps of an eighth of their magnitude, so that a block serves requests that are a little smaller.
    static func roundedSize(_ bytes: Int) -> Int {
        let small = 1024
        guard bytes > small else { return (bytes + 63) & ~63 }
        let magnitude = Int.bitWidth - 1 - bytes.leadingZeroBitCount
        let step = 1 << max(6, magnitude - 3)
        return (bytes + step - 1) & ~(step - 1)
    }

    /// From now on the memory of a training step is kept for the next one.
    func keepForTraining() { state.withLock { $0.isTraining = true } }

    func take(bytes: Int) -> UnsafeMutableRawPointer {
        let (cached, surplus): (UInt?, [UInt]) = state.withLock { state in
            state.usedBytes += bytes
            state.mostUsedBytes = max(state.mostUsedBytes, state.usedBytes)
            state.time += 1
            state.free[bytes]?.time = state.time
            if let address = state.free[bytes]?.addresses.popLast() {
                state.freeBytes -= bytes
                return (address, [])
            }
            // What is taken from the system must not come on top of blocks that nobody asks for.
            var surplus: [UInt] = []
            while state.isTraining, state.freeBytes > state.limit, let address = state.removeOldest() {
                surplus.append(address)
            }
            return (nil, surplus)
        }
        if let cached { return UnsafeMutableRawPointer(bitPattern: cached)! }
        for address in surplus { Self.release(address) }
        // Large blocks in large pages, where the system has them for those who ask.
        let isLarge = bytes >= 2 * Self.largePage
        var block: UnsafeMutableRawPointer?
        let status = posix_memalign(&block, isLarge ? Self.largePage : 64, bytes)
        precondition(status == 0 && block != nil, "out of memory: \(bytes) bytes for a tensor")
        #if canImport(Glibc)
            if isLarge { madvise(block!, bytes, Int32(MADV_HUGEPAGE)) }
        #endif
        return block!
    }

    func give(_ block: UnsafeMutableRawPointer, bytes: Int) {
        let address = UInt(bitPattern: block)
        let surplus = state.withLock { state in
            state.usedBytes -= bytes
            var surplus: [UInt] = []
            while state.isTraining, state.freeBytes + bytes > state.limit, let oldest = state.removeOldest() {
                surplus.append(oldest)
            }
            guard state.freeBytes + bytes <= state.limit else { return surplus + [address] }
            state.time += 1
            state.free[bytes, default: Blocks()].addresses.append(address)
            state.free[bytes]!.time = state.time
            state.freeBytes += bytes
            return surplus
        }
        for address in surplus { Self.release(address) }
    }

    /// Frees a block that is not to be kept.
    func discard(_ block: UnsafeMutableRawPointer, bytes: Int) {
        state.withLock { $0.usedBytes -= bytes }
        #if canImport(Glibc)
            // The C library would perhaps keep the pages for itself.
            let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
            let begin = (UInt(bitPattern: block) + page - 1) & ~(page - 1)
            let end = UInt(bitPattern: block + bytes) & ~(page - 1)
            if begin < end { madvise(UnsafeMutableRawPointer(bitPattern: begin), Int(end - begin), MADV_DONTNEED) }
        #endif
        free(block)
    }

    private static func release(_ address: UInt) { free(UnsafeMutableRawPointer(bitPattern: address)) }

    /// Returns every free block to the system, and keeps no more than before the first training step.
    func trim() {
        let addresses = state.withLock { state in
            let addresses = state.free.values.flatMap(\.addresses)
            state.free = [:]
            state.freeBytes = 0
            state.mostUsedBytes = state.usedBytes
            state.isTraining = false
            return addresses
        }
        for address in addresses { Self.release(address) }
    }
}
