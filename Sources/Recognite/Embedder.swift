import Foundation
import Layers
import Tensors

/// Computes embeddings for many tasks at once: requests that arrive while the engine is busy are put together into
/// batches.
///
///     let embedder = Embedder(recognizer)
///     let embedding = try await embedder.embedding(of: image)    // from any number of tasks
///
/// The engine works on a thread of the embedder's own, never on Swift's cooperative threads. A request that arrives alone
/// runs at once; only while requests keep arriving does a batch wait for more of them, and then no longer than the
/// maximum delay. Images of one size go into one batch.
public final class Embedder: Sendable {
    private let core: Core

    /// Starts a thread that waits for requests.
    ///
    /// - Parameters:
    ///   - recognizer: put into evaluation mode here; it may be used by others meanwhile, as long as nobody changes it.
    ///   - maximumBatchSize: the most images that are computed together.
    ///   - maximumDelay: how long a batch that is not full may wait for more images.
    public init(
        _ recognizer: Recognizer, maximumBatchSize: Int = 8, maximumDelay: Duration = .milliseconds(2)
    ) {
        precondition(maximumBatchSize > 0, "Embedder: batches of \(maximumBatchSize) images")
        precondition(maximumDelay >= .zero, "Embedder: a delay of \(maximumDelay)")
        recognizer.eval()
        let core = Core(recognizer, maximumBatchSize: maximumBatchSize, maximumDelay: maximumDelay / .seconds(1))
        self.core = core
        let thread = Thread { core.serve() }
        thread.name = "recognite.embedder"
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
        let id = core.makeID()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { core.submit(Request(id: id, image: image, continuation: $0)) }
        } onCancel: {
            core.cancel(id)
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
}

/// A request to an ``Embedder`` that has been stopped.
public struct EmbedderStoppedError: Error, CustomStringConvertible {
    public var description: String { "the embedder has been stopped" }
}

private struct Request {
    let id: UInt64
    let image: Tensor
    let continuation: CheckedContinuation<Tensor, any Error>
}

/// The queue of requests and the loop that serves them. The lock guards all that changes.
private final class Core: @unchecked Sendable {
    private let recognizer: Recognizer
    private let maximumBatchSize: Int
    private let maximumDelay: TimeInterval
    private let condition = NSCondition()
    private var pending: [Request] = []
    /// Cancelled before they were submitted.
    private var cancelled: Set<UInt64> = []
    private var lastID: UInt64 = 0
    private var isStopped = false

    init(_ recognizer: Recognizer, maximumBatchSize: Int, maximumDelay: TimeInterval) {
        self.recognizer = recognizer
        self.maximumBatchSize = maximumBatchSize
        self.maximumDelay = maximumDelay
    }

    func check(_ image: Tensor) throws { try recognizer.checkInput(shape: [1] + image.shape) }

    func makeID() -> UInt64 {
        condition.withLock {
            lastID += 1
            return lastID
        }
    }

    func submit(_ request: Request) {
        let refusal: (any Error)? = condition.withLock {
            if cancelled.remove(request.id) != nil { return CancellationError() }
            if isStopped { return EmbedderStoppedError() }
            pending.append(request)
            condition.signal()
            return nil
        }
        if let refusal { request.continuation.resume(throwing: refusal) }
    }

    /// Takes a request out of the queue. One whose batch is under way gets its result.
    func cancel(_ id: UInt64) {
        let request: Request? = condition.withLock {
            if let index = pending.firstIndex(where: { $0.id == id }) { return pending.remove(at: index) }
            // Not submitted yet, or done: in the second case the mark stays, a number.
            if id > lastServed { cancelled.insert(id) }
            return nil
        }
        request?.continuation.resume(throwing: CancellationError())
    }

    /// The highest number that a batch has taken; requests are submitted almost in the order of their numbers.
    private var lastServed: UInt64 = 0

    func stop() {
        let left: [Request] = condition.withLock {
            isStopped = true
            condition.signal()
            defer { pending = [] }
            return pending
        }
        for request in left { request.continuation.resume(throwing: EmbedderStoppedError()) }
    }

    /// Serves batch after batch until it is stopped.
    func serve() {
        var previous = 0
        while let batch = nextBatch(previous: previous) {
            run(batch)
            previous = batch.count
        }
    }

    /// Waits for requests; `nil` when stopped.
    ///
    /// - Parameter previous: the size of the batch before. Behind a batch of several, as many callers are likely to come
    ///   again: they are waited for.
    private func nextBatch(previous: Int) -> [Request]? {
        condition.lock()
        defer { condition.unlock() }
        while pending.isEmpty && !isStopped { condition.wait() }
        if previous > 1, maximumDelay > 0 {
            let deadline = Date(timeIntervalSinceNow: maximumDelay)
            while !isStopped, pending.count < maximumBatchSize, condition.wait(until: deadline) {}
        }
        guard !isStopped, let shape = pending.first?.image.shape else { return isStopped ? nil : [] }
        var batch: [Request] = []
        pending.removeAll { request in
            guard batch.count < maximumBatchSize, request.image.shape == shape else { return false }
            batch.append(request)
            return true
        }
        lastServed = max(lastServed, batch.map(\.id).max() ?? 0)
        return batch
    }

    private func run(_ batch: [Request]) {
        guard let first = batch.first else { return }
        let images = batch.map { $0.image.reshaped([1] + first.image.shape) }
        let embeddings = GradientMode.disabled { recognizer(.concatenated(images, axis: 0)) }
        let size = embeddings.shape[1]
        embeddings.withUnsafeScalars { values in
            for (index, request) in batch.enumerated() {
                request.continuation.resume(
                    returning: Tensor(Array(values[index * size..<(index + 1) * size]), shape: [size]))
            }
        }
    }
}
