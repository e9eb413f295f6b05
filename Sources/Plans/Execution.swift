import CKernels
import Tensors

/// One run of steps: where the memory is, and on how many threads.
struct Execution {
    /// The arena of the image, and that of the batch.
    let arena: UnsafeMutablePointer<Float>
    let batchArena: UnsafeMutablePointer<Float>
    /// The image's input and output; those of the first image for steps on the whole batch.
    let input: UnsafePointer<Float>
    let output: UnsafeMutablePointer<Float>
    /// Images of the whole batch.
    let batch: Int
    /// The image that the steps work on; 0 for steps on the whole batch.
    let image: Int
    /// The most parts that a step's work is divided into: the number of threads that the plan was made for, or 1. There is
    /// scratch memory for so many, whatever the engine's number of threads is meanwhile.
    let threads: Int
    /// Memory for kernels: `scratchSize` elements for each thread.
    let scratch: UnsafeMutablePointer<Float>
    let scratchSize: Int

    func pointer(_ location: MemoryLayout.Location) -> UnsafeMutablePointer<Float> {
        switch location {
        case .arena(let offset): arena + offset
        case .batchArena(let base, let size, let offset): batchArena + (base * batch + size * image + offset)
        case .input(let offset): UnsafeMutablePointer(mutating: input) + offset
        case .output(let offset): output + offset
        case .constant(let tensor): tensor.mutablePointer
        }
    }

    var isParallel: Bool { threads > 1 }

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

    /// The scratch memory of a part.
    func scratch(ofPart part: Int) -> UnsafeMutablePointer<Float> { scratch + part * scratchSize }
}
