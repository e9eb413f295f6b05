import CKernels
import COpenBLAS

/// The compute engine: its threads and what it runs on. All settings are those of the process.
public enum Engine {
    /// The number of threads that one operation uses; at first `RECOGNITE_NUM_THREADS`, or else the processors that
    /// the process may run on.
    public static var threads: Int { Int(ck_pool_threads()) }

    /// Sets the number of threads that one operation uses; 0 restores the initial number.
    public static func setThreads(_ count: Int) {
        precondition(count >= 0, "Engine.setThreads: \(count) threads")
        ck_pool_set_threads(Int64(count))
    }

    /// The instruction-set level that the kernels run at: `portable`, `avx2`, `avx512` or `amx`. The environment variable
    /// `RECOGNITE_ISA` lowers it.
    public static var instructionSet: String { String(cString: ck_level_name(ck_level_current())) }

    /// The best level that this processor supports.
    public static var supportedInstructionSet: String { String(cString: ck_level_name(ck_level_supported())) }

    /// The kind of processor cores that choices between kernels are made for: `zen4`, which is also what unknown ones
    /// count as, `zen5` or `intel`. The environment variable `RECOGNITE_CORES` sets another one.
    public static var cores: String { String(cString: ck_cores_name(ck_cores_current())) }

    private static let isBLASOnly = "blas".withCString { ck_setting("RECOGNITE_ENGINE", [$0], 1) == 0 }

    /// Whether a model's call in this task may run as a plan. Not within another model's call.
    @TaskLocal package static var allowsPlans = !isBLASOnly

    /// Whether convolutions and Linears that run as operations use kernels of our own.
    @TaskLocal static var usesKernels = !isBLASOnly

    /// Runs `body` with every model running operation by operation, convolutions as matrix products of OpenBLAS, also in
    /// evaluation mode, where models otherwise run as plans, and in training mode, where both otherwise run on kernels of
    /// our own. `RECOGNITE_ENGINE=blas` in the environment does that for the whole process.
    public static func withoutPlans<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        let result: Result<R, E> = $usesKernels.withValue(false) {
            do throws(E) { return .success(try withinModel(body)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Runs `body`, which is part of a model's call, without plans of its own.
    package static func withinModel<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        let result: Result<R, E> = $allowsPlans.withValue(false) {
            do throws(E) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// OpenBLAS's own description of its version and build.
    public static var openBLASConfiguration: String { String(cString: openblas_get_config()) }

    /// The processor family whose kernels OpenBLAS chose.
    public static var openBLASCore: String { String(cString: openblas_get_corename()) }

    /// Returns the memory that freed tensors left behind to the system.
    public static func releaseCachedMemory() {
        BlockCache.shared.trim()
        returnFreeMemory()
    }

    /// Returns what the C library keeps of freed memory to the system.
    package static func returnFreeMemory() { ck_return_free_memory() }

    /// Runs OpenBLAS on one thread from the first use on: the parallelism is ours, and threaded products that run at
    /// the same time have corrupted results (OpenMathLib/OpenBLAS#5836).
    static let singleThreadedBLAS: Void = openblas_set_num_threads(1)
}

/// Runs `body(begin, end)` on contiguous chunks of `0 ..< count`, at least `grain` indices each, over the engine's
/// threads; returns when all are done. See `ck_pool_run`.
package func parallelFor(_ count: Int, grain: Int, _ body: (_ begin: Int, _ end: Int) -> Void) {
    guard count > 0 else { return }
    withoutActuallyEscaping(body) { body in
        withUnsafePointer(to: body) { pointer in
            ck_pool_run(
                Int64(count), Int64(max(1, grain)),
                { context, begin, end, _ in
                    context!.assumingMemoryBound(to: ((Int, Int) -> Void).self).pointee(Int(begin), Int(end))
                }, UnsafeMutableRawPointer(mutating: pointer))
        }
    }
}

/// Runs `body` here, with the arithmetic of the engine's loops: subnormal numbers count as 0 (see `ck_pool_run`).
package func withLoopArithmetic(_ body: () -> Void) {
    // A single chunk runs on the calling thread, and loops within it are divided as usual.
    parallelFor(1, grain: 1) { _, _ in body() }
}

/// A division of `0 ..< count` into numbered chunks, for work that keeps something for each chunk: their number stays
/// what it was even if the engine's threads change before they run.
struct Chunks {
    /// How many there are; at least one.
    let count: Int
    private let indices: Int

    /// Chunks of `indices` indices, at least `grain` each: as many as ``parallelFor(_:grain:_:)`` would make now.
    init(_ indices: Int, grain: Int) {
        self.indices = indices
        count = max(1, Int(ck_pool_chunks(Int64(indices), Int64(max(1, grain)))))
    }

    /// Runs `body(begin, end, chunk)` on each chunk over the engine's threads.
    func run(_ body: (_ begin: Int, _ end: Int, _ chunk: Int) -> Void) {
        parallelFor(count, grain: 1) { first, last in
            for chunk in first..<last { body(indices * chunk / count, indices * (chunk + 1) / count, chunk) }
        }
    }
}

/// Chunks of elementwise work below this many elements cost more to hand out than to do.
package let elementwiseGrain = 16384

/// The grain, in rows, of work over rows of `width` elements.
package func rowGrain(_ width: Int) -> Int { max(1, elementwiseGrain / max(1, width)) }
