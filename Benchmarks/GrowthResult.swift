import Foundation
import Recognite

/// What a process holds while one model runs on batches and pictures of changing sizes.
struct GrowthResult {
    let model: String
    let runs: Int
    /// After the first tenth of the runs, and after all of them.
    let earlyMegabytes: Double
    let finalMegabytes: Double

    /// Runs of 1 to 5 pictures of 24 sizes, which is more than plans are kept for, in random order.
    static func measure(_ name: String, runs: Int) throws -> GrowthResult {
        let recognizer = try withRandomSeed(0) { try Recognizer(name) }
        recognizer.eval()
        let entry = try ModelRegistry.entry(name)
        var source = RandomSource(seed: 1)
        var early = 0.0
        for run in 0..<runs {
            let batch = Int.random(in: 1...5, using: &source), step = Int.random(in: 0..<24, using: &source)
            let side = entry.hasFixedInputSize ? entry.inputSize : 96 + 2 * step
            let images = Tensor(repeating: 0.5, shape: [batch, side, side, 3])
            _ = GradientMode.disabled { recognizer(images) }
            if run == runs / 10 { early = BenchmarkResult.residentMegabytes() }
        }
        return GrowthResult(
            model: name, runs: runs, earlyMegabytes: early, finalMegabytes: BenchmarkResult.residentMegabytes())
    }

    var text: String {
        String(
            format: "%@: %.0f MB resident after %d runs of changing sizes, %.0f MB after %d (%+.1f %%)", model,
            earlyMegabytes, runs / 10, finalMegabytes, runs, 100 * (finalMegabytes / earlyMegabytes - 1))
    }
}
