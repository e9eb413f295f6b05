import Foundation
import Recognite

/// An `Embedder` beside direct calls of its recognizer.
struct EmbedderResult: JSONLine {
    let model: String
    let threads: Int
    /// Median of direct calls on one image.
    let directMilliseconds: Double
    /// Median latency of a lone caller of the embedder.
    let loneCallerMilliseconds: Double
    /// Direct calls on batches of 8, in images per second.
    let batchThroughput: Double
    /// 64 callers at once, each of which asks again as soon as it has its answer, in images per second.
    let callersThroughput: Double

    private enum CodingKeys: String, CodingKey {
        case model, threads
        case directMilliseconds = "direct_ms"
        case loneCallerMilliseconds = "lone_caller_ms"
        case batchThroughput = "batch_8_images_per_second"
        case callersThroughput = "callers_64_images_per_second"
    }

    /// What is compared is measured in turns, so that a drift of the machine meets both sides.
    static func measure(_ name: String, seconds: Double) async throws -> EmbedderResult {
        let recognizer = try withRandomSeed(0) { try Recognizer(name) }
        let embedder = Embedder(recognizer)
        let side = try ModelRegistry.entry(name).inputSize
        let image = Tensor(repeating: 0.5, shape: [side, side, 3])
        let clock = ContinuousClock()
        func milliseconds(_ body: () async throws -> Void) async throws -> Double {
            let start = clock.now
            try await body()
            return (clock.now - start) / .milliseconds(1)
        }
        func direct(_ images: Tensor) async throws -> Double {
            try await milliseconds { _ = GradientMode.disabled { recognizer(images) } }
        }
        /// The medians of two measurements, repeated for the given time, five times at least, after one to warm up.
        func medians(
            _ first: () async throws -> Double, _ second: () async throws -> Double
        ) async throws -> (Double, Double) {
            _ = (try await first(), try await second())
            var times: [(Double, Double)] = []
            let start = clock.now
            while times.count < 5 || clock.now - start < .seconds(seconds) {
                times.append((try await first(), try await second()))
            }
            return (times.map(\.0).sorted()[times.count / 2], times.map(\.1).sorted()[times.count / 2])
        }
        let single = Tensor(repeating: 0.5, shape: [1, side, side, 3])
        let (directTime, loneTime) = try await medians {
            try await direct(single)
        } _: {
            try await milliseconds { _ = try await embedder.embedding(of: image) }
        }
        let batch = Tensor(repeating: 0.5, shape: [8, side, side, 3])
        let rounds = 3
        let (batchTime, callersTime) = try await medians {
            var total = 0.0
            for _ in 0..<8 { total += try await direct(batch) }
            return total / 64
        } _: {
            try await milliseconds {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<64 {
                        group.addTask { for _ in 0..<rounds { _ = try await embedder.embedding(of: image) } }
                    }
                    try await group.waitForAll()
                }
            } / Double(64 * rounds)
        }
        return EmbedderResult(
            model: name, threads: Engine.threads, directMilliseconds: directTime, loneCallerMilliseconds: loneTime,
            batchThroughput: 1000 / batchTime, callersThroughput: 1000 / callersTime)
    }

    var text: String {
        String(
            format: "%@: a lone caller %.2f ms, direct %.2f (%+.2f); "
                + "64 callers %.1f images/s, batches of 8 %.1f (%.0f %%)",
            model, loneCallerMilliseconds, directMilliseconds, loneCallerMilliseconds - directMilliseconds,
            callersThroughput, batchThroughput, 100 * callersThroughput / batchThroughput)
    }
}
