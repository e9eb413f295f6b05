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
    /// Whether a step's work is shared among the engine's threads.
    let isParallel: Bool
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

    /// Runs `body(begin, end, chunk)` on parts of `0 ..< units` of at least `grain` units each, numbered from 0.
    func forEachPart(_ units: Int64, grain: Int64 = 1, _ body: (Int64, Int64, Int) -> Void) {
        guard units > 0 else { return }
        guard isParallel else { return body(0, units, 0) }
        withoutActuallyEscaping(body) { body in
            withUnsafePointer(to: body) { pointer in
                ck_pool_run(
                    units, grain,
                    { context, begin, end, chunk in
                        context!.assumingMemoryBound(to: ((Int64, Int64, Int) -> Void).self)
                            .pointee(begin, end, Int(chunk))
                    }, UnsafeMutableRawPointer(mutating: pointer))
            }
        }
    }

    /// The scratch memory of a part.
    func scratch(ofChunk chunk: Int) -> UnsafeMutablePointer<Float> { scratch + chunk * scratchSize }
}
