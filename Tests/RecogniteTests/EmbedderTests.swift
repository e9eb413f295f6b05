import Recognite
import TestSupport
import Testing

@Suite(.serialized) struct EmbedderTests {
    private static func makeRecognizer() throws -> Recognizer {
        let recognizer = try withRandomSeed(3) { try Recognizer("shufflenet_v2_x0_5") }
        recognizer.eval()
        return recognizer
    }

    private static func image(_ index: Int, side: Int = 64) -> Tensor {
        ReferenceFill.images(1, side, side, salt: "embedder\(index)").reshaped([side, side, 3])
    }

    private static func direct(_ recognizer: Recognizer, _ image: Tensor) -> [Float] {
        GradientMode.disabled { recognizer(image.reshaped([1] + image.shape)) }.scalars
    }

    /// A batch and a single image divide the work differently, so that the last bits may differ.
    private static func isClose(_ a: [Float], _ b: [Float]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 }
    }

    @Test func manyTasksGetTheirOwnEmbeddings() async throws {
        let recognizer = try Self.makeRecognizer()
        // Two sizes, mixed.
        let images = (0..<40).map { Self.image($0, side: $0 % 3 == 0 ? 80 : 64) }
        let expected = images.map { Self.direct(recognizer, $0) }
        let embedder = Embedder(recognizer, maximumBatchSize: 4)
        let results = try await embedder.embeddings(of: images)
        for (result, expected) in zip(results, expected) { #expect(Self.isClose(result.scalars, expected)) }
    }

    @Test func imagesThatTheModelCannotTakeAreRefused() async throws {
        let embedder = Embedder(try Self.makeRecognizer())
        await #expect(throws: InputShapeError.self) { try await embedder.embedding(of: .zeros([64, 64])) }
        await #expect(throws: InputShapeError.self) { try await embedder.embedding(of: .zeros([64, 64, 4])) }
    }

    @Test func cancelledRequestsLeaveTheOthersAlone() async throws {
        let recognizer = try Self.makeRecognizer()
        let embedder = Embedder(recognizer, maximumBatchSize: 2)
        let images = (0..<24).map { Self.image($0) }
        let tasks = images.map { image in Task { try await embedder.embedding(of: image) } }
        for task in tasks[12...] { task.cancel() }
        for (index, task) in tasks.enumerated() {
            do {
                let embedding = try await task.value
                #expect(Self.isClose(embedding.scalars, Self.direct(recognizer, images[index])))
            } catch is CancellationError {
                #expect(index >= 12)
            }
        }
        // A task that is cancelled before it asks never gets an embedding queued.
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await embedder.embedding(of: images[0])
        }
        await #expect(throws: CancellationError.self) { try await late.value }
    }

    @Test func stoppingEndsAllRequests() async throws {
        let embedder = Embedder(try Self.makeRecognizer(), maximumBatchSize: 1)
        let tasks = (0..<20).map { index in Task { try await embedder.embedding(of: Self.image(index)) } }
        embedder.stop()
        for task in tasks {
            // Each has its result or the error, and none waits for ever.
            do { _ = try await task.value } catch { #expect(error is EmbedderStoppedError) }
        }
        await #expect(throws: EmbedderStoppedError.self) { try await embedder.embedding(of: Self.image(0)) }
    }
}
