import Foundation
import Recognite

/// How long a checkpoint takes from its file to a model that can run, and to the first embedding.
struct LoadResult {
    let model: String
    let seconds: [Double]
    /// The file's size in units of 2^20 bytes.
    let fileMegabytes: Double
    /// The most memory that the process held at the first load, beyond what it had before.
    let peakMegabytes: Double
    /// The pictures whose embeddings are the first.
    let batch: Int
    /// From the file to the first embedding: load, plan and run.
    let firstEmbeddingSeconds: Double
    /// What the process holds then, all of it.
    let residentMegabytes: Double

    /// Loads the file for a first embedding and then three times more as it is; the first of all finds no memory to use
    /// again.
    static func measure(_ name: String, file: String, batch: Int) throws -> LoadResult {
        let before = BenchmarkResult.peakResidentMegabytes()
        let side = try ModelRegistry.entry(name).inputSize
        let image = Tensor(repeating: 0.5, shape: [batch, side, side, 3])
        var peak = 0.0, resident = 0.0
        let first = try ContinuousClock().measure {
            let recognizer = try Recognizer(name, weights: .file(file))
            peak = BenchmarkResult.peakResidentMegabytes() - before
            recognizer.eval()
            _ = GradientMode.disabled { recognizer(image) }
            resident = BenchmarkResult.residentMegabytes()
        }
        let times = try (0..<3).map { _ in
            try ContinuousClock().measure { _ = try loadClassifier(name, weights: .file(file)) } / .seconds(1)
        }
        let attributes = try FileManager.default.attributesOfItem(atPath: file)
        let size = Double((attributes[.size] as? Int) ?? 0) / 1_048_576
        return LoadResult(
            model: name, seconds: times, fileMegabytes: size, peakMegabytes: peak, batch: batch,
            firstEmbeddingSeconds: first / .seconds(1), residentMegabytes: resident)
    }

    var text: String {
        let times = seconds.map { String(format: "%.2f", $0) }.joined(separator: ", ")
        return "\(model): "
            + String(
                format: "%.0f MB in \(times) s, at most %.0f MB of memory (%.2f times the file)", fileMegabytes,
                peakMegabytes, peakMegabytes / fileMegabytes)
            + String(
                format:
                    "\n    first \(batch == 1 ? "embedding" : "\(batch) embeddings") after %.2f s, then %.0f MB resident",
                firstEmbeddingSeconds, residentMegabytes)
    }
}
