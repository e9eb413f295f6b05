import Foundation
import Recognite

/// An `Embedder` beside direct calls of its recognizer.
struct EmbedderResult: Encodable {
    let model: String
    /// Median of direct calls on one image, and of a lone caller of the embedder.
    let directMilliseconds: Double
    let loneCallerMilliseconds: Double
    /// Direct calls on batches of 8, and 64 callers at once.
    let batchImagesPerSecond: Double
    let callersImagesPerSecond: Double

    private enum CodingKeys: String, CodingKey {
        case model
        case directMilliseconds = "direct_ms"
        case loneCallerMilliseconds = "lone_caller_ms"
        case batchImagesPerSecond = "batch_8_images_per_second"
        case callersImagesPerSecond = "callers_64_images_per_second"
    }

    static func measure(_ name: String, seconds: Double) async throws -> EmbedderResult {
        let recognizer = try withRandomSeed(0) { try Recognizer(name) }
        recognizer.eval()
        let side = try ModelRegistry.entry(name).inputSize
        let image = Tensor(repeating: 0.5, shape: [side, side, 3])
        let embedder = Embedder(recognizer)
        let clock = ContinuousClock()
        func median(_ body: () async throws -> Void) async throws -> Double {
            try await body()
            var times: [Double] = []
            let start = clock.now
            while times.count < 5 || clock.now - start < .seconds(seconds) {
                let before = clock.now
                try await body()
                times.append((clock.now - before) / .milliseconds(1))
            }
            return times.sorted()[times.count / 2]
        }
        func direct(_ batch: Int) async throws -> Double {
            let images = Tensor(repeating: 0.5, shape: [batch, side, side, 3])
            return try await median { _ = GradientMode.disabled { recognizer(images) } }
        }
        let single = try await direct(1)
        let lone = try await median { _ = try await embedder.embedding(of: image) }
        let batch = try await direct(8)
        let perCaller = max(2, Int(seconds * 8000 / batch / 64))
        let before = clock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<64 {
                group.addTask { for _ in 0..<perCaller { _ = try await embedder.embedding(of: image) } }
            }
            try await group.waitForAll()
        }
        let elapsed = (clock.now - before) / .seconds(1)
        return EmbedderResult(
            model: name, directMilliseconds: single, loneCallerMilliseconds: lone,
            batchImagesPerSecond: 8000 / batch, callersImagesPerSecond: Double(64 * perCaller) / elapsed)
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    var text: String {
        String(
            format: "%@: a lone caller %.2f ms (direct %.2f), 64 callers %.1f images/s (batches of 8 %.1f)", model,
            loneCallerMilliseconds, directMilliseconds, callersImagesPerSecond, batchImagesPerSecond)
    }
}
