import Foundation
import Layers
import Tensors

/// Computes embeddings for many tasks at once: requests that arrive while the engine is busy are put together into
/// batches.
///
///     let embedder = Embedder(recognizer)
///     let embedding = try await embedder.embedding(of: image)    // from any number of tasks
///
/// The engine works on a thread of the embedder's own, never on Swift's cooperative threads. A request that arrives while
/// nothing runs or waits is computed at once. Behind a batch, the callers that it served and those that queued meanwhile
/// are likely to ask again: the next batch waits until as many requests are there, or the maximum batch size, and at most
/// for the maximum delay. Images of one size go into one batch, that of the oldest request first.
public final class Embedder: Sendable {
    private let core: Core

    /// Starts a thread that waits for requests.
    ///
    /// - Parameters:
    ///   - recognizer: put into evaluation mode here; it may be used by others meanwhile, as long as nobody changes it or
    ///     its mode.
    ///   - maximumBatchSize: the most images that are computed together.
    ///   - maximumDelay: how long, from the end of the batch before, a batch that is not full may wait for more images.
    public init(
        _ recognizer: Recognizer, maximumBatchSize: Int = 8, maximumDelay: Duration = .milliseconds(2)
    ) {
        precondition(maximumBatchSize > 0, "Embedder: batches of \(maximumBatchSize) images")
        precondition(maximumDelay >= .zero, "Embedder: a delay of \(maximumDelay)")
        recognizer.eval()
        let core = Core(recognizer, maximumBatchSize: maximumBatchSize, maximumDelay: maximumDelay / .seconds(1))
        self.core = core
        let thread = Thread {
            // For debuggers. On Linux a name that is given before the start gets lost, one of more than 15 characters too.
            Thread.current.name = "recognite.embed"
            core.serve()
        }
        // The plans' own recursion is shallow, but a model's eager forward may not be.
        thread.stackSize = 8 << 20
        thread.start()
    }

    deinit { core.stop() }

    /// The embedding of one image.
    ///
    /// - Parameter image: `[H, W, 3]`, as the recognizer's preset makes it.
    /// - Returns: `[D]`.
    /// - Throws: ``InputShapeError`` for an image that the model cannot take, `CancellationError` if the task is cancelled
    ///   before its batch has started, ``EmbedderStoppedError`` after ``stop()``.
    public func embedding(of image: Tensor) async throws -> Tensor {
        try core.check(image)
        let request = Request(image)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { core.submit(request, $0) }
        } onCancel: {
            core.cancel(request)
        }
    }

    /// The embeddings of several images, in their order; on an error the others are cancelled.
    ///
    /// - Parameter images: each `[H, W, 3]`.
    public func embeddings(of images: [Tensor]) async throws -> [Tensor] {
        try await withThrowingTaskGroup(of: (Int, Tensor).self) { group in
            for (index, image) in images.enumerated() {
                group.addTask { (index, try await self.embedding(of: image)) }
            }
            var results = [Tensor?](repeating: nil, count: images.count)
            for try await (index, embedding) in group { results[index] = embedding }
            return results.map { $0! }
        }
    }

    /// Ends the service: the batch under way is finished, and all other requests, later ones too, get
    /// ``EmbedderStoppedError``. Happens by itself when the embedder is released.
    public func stop() { core.stop() }

    /// How many requests wait for their batch to start, for tests.
    package var queuedRequests: Int { core.queuedRequests }

    /// How many requests the next batch waits for, within the maximum delay, for tests.
    package var wantedRequests: Int { core.wantedRequests }
}

/// A request to an ``Embedder`` that has been stopped.
public struct EmbedderStoppedError: Error, CustomStringConvertible {
    public var description: String { "the embedder has been stopped" }
}

/// One image and who waits for it. The core's lock guards the state.
private final class Request: @unchecked Sendable {
    enum State {
        /// Not queued yet: a task can be cancelled before it has asked.
        case new
        case queued(CheckedContinuation<Tensor, any Error>)
        case cancelled
        /// In a batch, or answered.
        case taken
    }

    let image: Tensor
    var state = State.new

    init(_ image: Tensor) { self.image = image }
}

/// The queue of requests and the loop that serves them. The lock guards all that changes.
private final class Core: @unchecked Sendable {
    private typealias Continuation = CheckedContinuation<Tensor, any Error>

    private let recognizer: Recognizer
    private let maximumBatchSize: Int
    private let maximumDelay: TimeInterval
    private let condition = NSCondition()
    /// The oldest first; all of them in the state `queued`.
    private var pending: [Request] = []
    /// How many requests the serving thread waits for: it is not woken for less.
    private var wanted = 1
    private var isStopped = false

    var queuedRequests: Int { condition.withLock { pending.count } }
    var wantedRequests: Int { condition.withLock { wanted } }

    init(_ recognizer: Recognizer, maximumBatchSize: Int, maximumDelay: TimeInterval) {
        self.recognizer = recognizer
        self.maximumBatchSize = maximumBatchSize
        self.maximumDelay = maximumDelay
    }

    func check(_ image: Tensor) throws { try recognizer.checkInput(shape: [1] + image.shape) }

    func submit(_ request: Request, _ continuation: CheckedContinuation<Tensor, any Error>) {
        let refusal: (any Error)? = condition.withLock {
            if case .cancelled = request.state { return CancellationError() }
            if isStopped { return EmbedderStoppedError() }
            request.state = .queued(continuation)
            pending.append(request)
            if pending.count >= wanted { condition.signal() }
            return nil
        }
        if let refusal { continuation.resume(throwing: refusal) }
    }

    /// Takes a request out of the queue. One whose batch is under way gets its result.
    func cancel(_ request: Request) {
        let continuation: Continuation? = condition.withLock {
            switch request.state {
            case .new, .cancelled:
                request.state = .cancelled
                return nil
            case .taken: return nil
            case .queued(let continuation):
                request.state = .cancelled
                pending.removeAll { $0 === request }
                return continuation
            }
        }
        continuation?.resume(throwing: CancellationError())
    }

    func stop() {
        let left: [Continuation] = condition.withLock {
            isStopped = true
            condition.signal()
            defer { pending = [] }
            return pending.map(take)
        }
        for continuation in left { continuation.resume(throwing: EmbedderStoppedError()) }
    }

    /// Marks a queued request as taken; returns who waits for it.
    private func take(_ request: Request) -> Continuation {
        guard case .queued(let continuation) = request.state else {
            preconditionFailure("Embedder: a request that is not queued")
        }
        request.state = .taken
        return continuation
    }

    /// Serves batch after batch until it is stopped.
    func serve() {
        while let (images, continuations) = nextBatch() {
            let embeddings = compute(images)
            // Before the callers are answered: one that is back at once must not be counted twice.
            condition.withLock { wanted = min(maximumBatchSize, images.count + pending.count) }
            for (caller, embedding) in zip(continuations, embeddings) { caller.resume(returning: embedding) }
        }
    }

    /// Waits for requests; `nil` when stopped.
    ///
    /// Callers that work in a loop are back within some hundredths of a millisecond; without the wait for as many as are
    /// `wanted`, the first of them would go alone.
    private func nextBatch() -> (images: [Tensor], continuations: [Continuation])? {
        condition.lock()
        defer { condition.unlock() }
        if pending.count < wanted, maximumDelay > 0 {
            let deadline = Date(timeIntervalSinceNow: maximumDelay)
            while !isStopped, pending.count < wanted, condition.wait(until: deadline) {}
        }
        wanted = 1
        while !isStopped, pending.isEmpty { condition.wait() }
        guard !isStopped else { return nil }
        let shape = pending[0].image.shape
        var batch: [Request] = []
        pending.removeAll { request in
            guard batch.count < maximumBatchSize, request.image.shape == shape else { return false }
            batch.append(request)
            return true
        }
        return (batch.map(\.image), batch.map(take))
    }

    private func compute(_ images: [Tensor]) -> [Tensor] {
        let batch = images.map { $0.reshaped([1] + $0.shape) }
        let embeddings = GradientMode.disabled { recognizer(.concatenated(batch, axis: 0)) }
        let size = embeddings.shape[1]
        return embeddings.withUnsafeScalars { values in
            images.indices.map { Tensor(Array(values[$0 * size..<($0 + 1) * size]), shape: [size]) }
        }
    }
}
