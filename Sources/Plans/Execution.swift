import CKernels
import Tensors

/// Units of work that the threads share.
struct SharedUnits {
    fileprivate let share: OpaquePointer
    fileprivate let part: Int64
    /// How many are taken at once.
    fileprivate let most: Int64

    /// The next ones; `nil` if none are left.
    func next() -> (begin: Int64, end: Int64)? {
        var (begin, end) = (Int64(0), Int64(0))
        return ck_pool_share_take(share, part, most, &begin, &end) ? (begin, end) : nil
    }
}

/// One run of steps over a group of images: where the memory is, and on how many threads.
struct Execution {
    /// Elements from one image's input to the next, from one output to the next, and of the arena of one image.
    struct Sizes {
        let input: Int
        let output: Int
        let arena: Int
    }

    let sizes: Sizes
    /// The arena of the image; with a group of images, those of as many as run at once.
    let arena: UnsafeMutablePointer<Float>
    /// What all images of the group have at once.
    let groupArena: UnsafeMutablePointer<Float>
    /// The image's input and output; those of the first image for steps on the whole group.
    let input: UnsafePointer<Float>
    let output: UnsafeMutablePointer<Float>
    /// Images of the group.
    let images: Int
    /// The image that the steps work on; 0 for steps on the whole group.
    var image = 0
    /// The most parts that a step's work is divided into: the number of threads that the plan was made for, or 1. There is
    /// scratch memory for so many, whatever the engine's number of threads is meanwhile.
    let threads: Int
    /// Memory for kernels: `scratchSize` elements for each thread.
    let scratch: UnsafeMutablePointer<Float>
    let scratchSize: Int

    func pointer(_ location: MemoryLayout.Location) -> UnsafeMutablePointer<Float> {
        switch location {
        case .arena(let offset): arena + offset
        case .groupArena(let base, let size, let offset): groupArena + (base * images + size * image + offset)
        case .input(let offset): UnsafeMutablePointer(mutating: input) + offset
        case .output(let offset): output + offset
        case .constant(let tensor): tensor.mutablePointer
        }
    }

    var isParallel: Bool { threads > 1 }

    /// So many images of a group run at once, each on one thread; the rest run one after the other on all threads.
    static func imagesAlone(_ images: Int, threads: Int) -> Int { threads > 1 ? images / threads * threads : 0 }

    /// Calls `body` with each image of the group.
    func forEachImage(_ body: (Execution) -> Void) {
        let alone = Self.imagesAlone(images, threads: threads)
        if alone > 0 {
            forEachShare(Int64(alone)) { images, part in
                while let (first, end) = images.next() {
                    for image in first..<end { body(on(Int(image), part: part, threads: 1)) }
                }
            }
        }
        for image in alone..<images { body(on(image, part: 0, threads: threads)) }
    }

    private func on(_ image: Int, part: Int, threads: Int) -> Execution {
        Execution(
            sizes: sizes, arena: arena + part * sizes.arena, groupArena: groupArena, input: input + image * sizes.input,
            output: output + image * sizes.output, images: images, image: image, threads: threads,
            scratch: scratch(ofPart: part), scratchSize: scratchSize)
    }

    /// Runs `body(begin, end, part)` on parts of `0 ..< units` of at least `grain` units each, numbered from 0.
    func forEachPart(_ units: Int64, grain: Int64 = 1, _ body: (Int64, Int64, Int) -> Void) {
        guard units > 0 else { return }
        let parts = max(1, min(Int64(threads), units / max(1, grain)))
        guard parts > 1 else { return body(0, units, 0) }
        parallelFor(Int(parts), grain: 1) { first, last in
            for part in Int64(first)..<Int64(last) {
                body(units * part / parts, units * (part + 1) / parts, Int(part))
            }
        }
    }

    /// Runs `body(units, part)` on each thread, numbered from 0, which takes units until none of `0 ..< count` are left: its own
    /// ones first, then those that slower threads have not begun. For results that do not depend on who computes them.
    func forEachShare(_ count: Int64, _ body: (SharedUnits, Int) -> Void) {
        guard count > 0 else { return }
        let parts = min(Int64(threads), count)
        withUnsafeTemporaryAllocation(byteCount: Int(ck_pool_share_size(parts)), alignment: 64) { memory in
            let share = OpaquePointer(memory.baseAddress!)
            ck_pool_share_units(share, count, parts)
            guard parts > 1 else { return body(SharedUnits(share: share, part: 0, most: count), 0) }
            // An eighth of a thread's own, or a single one.
            let most = max(1, count / (8 * parts))
            parallelFor(Int(parts), grain: 1) { first, last in
                for part in first..<last { body(SharedUnits(share: share, part: Int64(part), most: most), part) }
            }
        }
    }

    /// The scratch memory of a part.
    func scratch(ofPart part: Int) -> UnsafeMutablePointer<Float> { scratch + part * scratchSize }
}
