import Foundation
import Recognite
import Synchronization
import TestSupport
import Testing

/// A model that says which batches it gets, and on which thread, and can hold them until the test lets them go. What it
/// computes depends on the size of the batch, which rules out a plan: every batch comes through `forward`.
private final class Probe: Module {
    @Child var head: Module = Linear(3, 2)
    let batches = Mutex<[(size: Int, thread: pthread_t)]>([])
    /// Signalled when a batch begins.
    let begun = DispatchSemaphore(value: 0)
    /// Waited for by each batch, if the probe holds them.
    let released = DispatchSemaphore(value: 0)
    private let holds: Bool

    init(holds: Bool) {
        self.holds = holds
        super.init()
    }

    var sizes: [Int] { batches.withLock { $0.map(\.size) } }

    override func forward(_ x: Tensor) -> Tensor {
        if x.symbol == nil {
            batches.withLock { $0.append((x.shape[0], pthread_self())) }
            begun.signal()
            if holds { released.wait() }
        }
        return head(x.mean(axes: 1, 2) * Float(x.shape[0]))
    }
}

private final class ThreadSet: Sendable {
    private let state = Mutex<Set<pthread_t>>([])

    var threads: Set<pthread_t> { state.withLock { $0 } }

    func insertCurrent() { state.withLock { _ = $0.insert(pthread_self()) } }
}

@Suite(.serialized) struct EmbedderTests {
    private static func makeRecognizer() throws -> Recognizer {
        try withRandomSeed(3) { try Recognizer("shufflenet_v2_x0_5") }
    }

    private static func image(_ index: Int, side: Int = 64) -> Tensor {
        ReferenceFill.images(1, side, side, salt: "embedder\(index)").reshaped([side, side, 3])
    }

    /// An image whose embedding by a probe, without its head, is the direction of its channels.
    private static func plain(_ index: Int, side: Int = 4) -> Tensor {
        let channels = [Float(index), 1, 2]
        return Tensor((0..<side * side).flatMap { _ in channels }, shape: [side, side, 3])
    }

    private static func direction(_ index: Int) -> [Float] {
        let norm = (Float(index * index) + 5).squareRoot()
        return [Float(index) / norm, 1 / norm, 2 / norm]
    }

    private static func direct(_ recognizer: Recognizer, _ image: Tensor) -> [Float] {
        GradientMode.disabled { recognizer(image.reshaped([1] + image.shape)) }.scalars
    }

    /// A batch and a single image divide the work differently, so that the last bits may differ.
    private static func isClose(_ a: [Float], _ b: [Float]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 }
    }

    /// Waits on a thread that may block.
    private static func wait(for semaphore: DispatchSemaphore) async {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                semaphore.wait()
                continuation.resume()
            }
        }
    }

    /// A probe in an embedder that holds its first batch, of one image.
    private static func held(
        maximumBatchSize: Int, maximumDelay: Duration = .milliseconds(2)
    ) async throws -> (probe: Probe, embedder: Embedder, first: Task<Tensor, any Error>) {
        let probe = Probe(holds: true)
        let embedder = Embedder(
            try Recognizer(model: probe), maximumBatchSize: maximumBatchSize, maximumDelay: maximumDelay)
        let first = Task { try await embedder.embedding(of: plain(0)) }
        await wait(for: probe.begun)
        return (probe, embedder, first)
    }

    /// Waits until so many requests are queued: how long tasks take to get there says nothing, because other suites' tests
    /// occupy the cooperative threads.
    private static func wait(for embedder: Embedder, toQueue count: Int) async throws {
        while embedder.queuedRequests < count { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test func manyTasksGetTheirOwnEmbeddings() async throws {
        let recognizer = try Self.makeRecognizer()
        // Two sizes, mixed.
        let images = (0..<40).map { Self.image($0, side: $0 % 3 == 0 ? 80 : 64) }
        let embedder = Embedder(recognizer, maximumBatchSize: 4)
        let expected = images.map { Self.direct(recognizer, $0) }
        let results = try await embedder.embeddings(of: images)
        for (result, expected) in zip(results, expected) { #expect(Self.isClose(result.scalars, expected)) }
        #expect(try await embedder.embeddings(of: []).isEmpty)
    }

    @Test func aTrainingRecognizerIsPutIntoEvaluation() async throws {
        let recognizer = try withRandomSeed(3) { try Recognizer("shufflenet_v2_x0_5", numClasses: 5) }
        #expect(recognizer.isTraining)
        let embedding = try await Embedder(recognizer).embedding(of: Self.image(0))
        #expect(!recognizer.isTraining)
        #expect(embedding.shape == [recognizer.embeddingSize])
    }

    @Test func requestsThatQueueGoTogether() async throws {
        let (probe, embedder, first) = try await Self.held(maximumBatchSize: 4)
        // The queue takes requests of one size together, the oldest one's first, and never more than four.
        let sides = [4, 4, 5, 4, 4, 4, 5, 4, 4]
        var tasks: [Task<Tensor, any Error>] = []
        for (index, side) in sides.enumerated() {
            tasks.append(Task { try await embedder.embedding(of: Self.plain(index, side: side)) })
            try await Self.wait(for: embedder, toQueue: index + 1)
        }
        for _ in 0..<4 { probe.released.signal() }
        _ = try await first.value
        for (index, task) in tasks.enumerated() {
            #expect(Self.isClose(try await task.value.scalars, Self.direction(index)))
        }
        #expect(probe.sizes == [1, 4, 2, 3])
    }

    @Test func theEngineStaysOffTheCooperativeThreads() async throws {
        let probe = Probe(holds: false)
        let embedder = Embedder(try Recognizer(model: probe))
        let callers = ThreadSet()
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<50 {
                group.addTask {
                    callers.insertCurrent()
                    _ = try? await embedder.embedding(of: Self.plain(index))
                    callers.insertCurrent()
                }
            }
        }
        let threads = Set(probe.batches.withLock { $0.map(\.thread) })
        #expect(threads.count == 1)
        #expect(threads.isDisjoint(with: callers.threads))

        // While a batch is held, as many waiting tasks as there are processors and more leave others to run.
        let (held, other, first) = try await Self.held(maximumBatchSize: 64)
        let waiting = (0..<64).map { index in Task { try await other.embedding(of: Self.plain(index)) } }
        for _ in 0..<100 { await Task.yield() }
        try await Task.sleep(for: .milliseconds(1))
        for _ in 0..<65 { held.released.signal() }
        _ = try await first.value
        for task in waiting { _ = try await task.value }
    }

    @Test func aLoneCallerDoesNotWaitForTheDelay() async throws {
        let probe = Probe(holds: false)
        let embedder = Embedder(try Recognizer(model: probe), maximumDelay: .seconds(900))
        let start = ContinuousClock.now
        for index in 0..<20 { _ = try await embedder.embedding(of: Self.plain(index)) }
        #expect(ContinuousClock.now - start < .seconds(300))
        #expect(probe.sizes == Array(repeating: 1, count: 20))
    }

    @Test func callersInALoopAreWaitedFor() async throws {
        let (probe, embedder, first) = try await Self.held(maximumBatchSize: 8, maximumDelay: .seconds(900))
        // Two more queue behind the first caller; all three ask again. With so long a delay all three go together each
        // time, and none waits for a fourth.
        let others = (1...2).map { index in
            Task { for _ in 0..<3 { _ = try await embedder.embedding(of: Self.plain(index)) } }
        }
        try await Self.wait(for: embedder, toQueue: 2)
        for _ in 0..<10 { probe.released.signal() }
        let start = ContinuousClock.now
        _ = try await first.value
        for _ in 0..<2 { _ = try await embedder.embedding(of: Self.plain(0)) }
        #expect(ContinuousClock.now - start < .seconds(300))
        #expect(probe.sizes == [1, 3, 3])
        // The last call of the two is alone: the embedder is stopped instead of waiting for the others.
        embedder.stop()
        for task in others { _ = await task.result }
    }

    @Test func afterAPauseABurstIsForgotten() async throws {
        let probe = Probe(holds: false)
        let embedder = Embedder(try Recognizer(model: probe), maximumDelay: .milliseconds(20))
        _ = try await embedder.embeddings(of: (0..<16).map { Self.plain($0) })
        // However late the threads get their turn, the next batch comes to want one request alone.
        for _ in 0..<6000 where embedder.wantedRequests > 1 { try await Task.sleep(for: .milliseconds(10)) }
        #expect(embedder.wantedRequests == 1)
        _ = try await embedder.embedding(of: Self.plain(0))
    }

    @Test func imagesThatTheModelCannotTakeAreRefused() async throws {
        let embedder = Embedder(try Self.makeRecognizer())
        for shape in [[64, 64], [64, 64, 4], [1, 64, 64, 3], [0, 64, 3]] {
            await #expect(throws: InputShapeError.self) { try await embedder.embedding(of: .zeros(shape)) }
        }
        await #expect(throws: InputShapeError.self) {
            try await embedder.embeddings(of: [Self.image(0), .zeros([64, 64])])
        }
        // It goes on serving.
        #expect(try await embedder.embedding(of: Self.image(0)).rank == 1)
    }

    @Test func aCancelledRequestLeavesTheQueue() async throws {
        let (probe, embedder, first) = try await Self.held(maximumBatchSize: 8)
        let tasks = (0..<6).map { index in Task { try await embedder.embedding(of: Self.plain(index)) } }
        try await Self.wait(for: embedder, toQueue: 6)
        for index in [1, 4] { tasks[index].cancel() }
        // They are answered while the batch before is still held.
        for index in [1, 4] { await #expect(throws: CancellationError.self) { try await tasks[index].value } }
        // One whose batch is under way gets its result.
        first.cancel()
        for _ in 0..<2 { probe.released.signal() }
        #expect(Self.isClose(try await first.value.scalars, Self.direction(0)))
        for index in [0, 2, 3, 5] {
            #expect(Self.isClose(try await tasks[index].value.scalars, Self.direction(index)))
        }
        #expect(probe.sizes == [1, 4])
    }

    @Test func aTaskThatIsCancelledBeforeItAsksIsNotQueued() async throws {
        let probe = Probe(holds: false)
        let embedder = Embedder(try Recognizer(model: probe))
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await embedder.embedding(of: Self.plain(0))
        }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(probe.sizes == [])
    }

    @Test func cancellationsAtAnyMomentLoseNothing() async throws {
        let embedder = Embedder(try Recognizer(model: Probe(holds: false)), maximumBatchSize: 3)
        for round in 0..<50 {
            let tasks = (0..<12).map { index in Task { try await embedder.embedding(of: Self.plain(index)) } }
            if round % 2 == 0 { await Task.yield() }
            for task in tasks[6...] { task.cancel() }
            for (index, task) in tasks.enumerated() {
                do {
                    #expect(Self.isClose(try await task.value.scalars, Self.direction(index)))
                } catch {
                    #expect(error is CancellationError && index >= 6)
                }
            }
        }
    }

    @Test func stoppingEndsAllRequests() async throws {
        let (probe, embedder, first) = try await Self.held(maximumBatchSize: 2)
        let tasks = (0..<20).map { index in Task { try await embedder.embedding(of: Self.plain(index)) } }
        try await Self.wait(for: embedder, toQueue: 20)
        embedder.stop()
        for task in tasks { await #expect(throws: EmbedderStoppedError.self) { try await task.value } }
        probe.released.signal()
        #expect(Self.isClose(try await first.value.scalars, Self.direction(0)))
        await #expect(throws: EmbedderStoppedError.self) { try await embedder.embedding(of: Self.plain(0)) }
        embedder.stop()
        #expect(probe.sizes == [1])
    }

    @Test func aReleasedEmbedderLetsGoOfItsRecognizer() async throws {
        weak var recognizer: Recognizer?
        do {
            let strong = try Recognizer(model: Probe(holds: false))
            recognizer = strong
            _ = try await Embedder(strong).embedding(of: Self.plain(0))
        }
        // Its thread ends by itself.
        for _ in 0..<200 where recognizer != nil { try await Task.sleep(for: .milliseconds(10)) }
        #expect(recognizer == nil)
    }
}
