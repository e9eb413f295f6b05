import Synchronization
import Tensors

/// The random numbers that initialization and dropout draw from, shared by all code of a task.
public final class RandomStream: Sendable {
    /// The stream of the current task; the default one is seeded by the system.
    @TaskLocal public static var current = RandomStream(seed: UInt64.random(in: .min ... .max))

    private let source: Mutex<RandomSource>

    public init(seed: UInt64) { source = Mutex(RandomSource(seed: seed)) }

    /// The state, to be saved and restored.
    public var state: RandomSource {
        get { source.withLock { $0 } }
        set { source.withLock { $0 = newValue } }
    }

    /// Runs `body` with the stream's source, which no other thread uses meanwhile.
    public func withSource<R>(_ body: (inout RandomSource) -> R) -> R {
        // The result of `body` is built from values alone; `Mutex` cannot know that.
        nonisolated(unsafe) var result: R?
        source.withLock { result = body(&$0) }
        return result!
    }
}

/// Runs `body` with all random numbers of initialization and dropout drawn from a stream of this seed.
public func withRandomSeed<R, E: Error>(_ seed: UInt64, _ body: () throws(E) -> R) throws(E) -> R {
    let result: Result<R, E> = RandomStream.$current.withValue(RandomStream(seed: seed)) {
        do throws(E) { return .success(try body()) } catch { return .failure(error) }
    }
    return try result.get()
}
