import Foundation
import Recognite

/// How long a checkpoint takes from its file to a model that can run.
struct LoadResult {
    let model: String
    let seconds: [Double]
    /// The file's size in units of 2^20 bytes.
    let fileMegabytes: Double
    /// The most memory that the process held at the first load, beyond what it had before.
    let peakMegabytes: Double

    /// Loads the file three times, the first of which finds no memory to use again.
    static func measure(_ name: String, file: String) throws -> LoadResult {
        let attributes = try FileManager.default.attributesOfItem(atPath: file)
        let size = Double((attributes[.size] as? Int) ?? 0) / 1_048_576
        let before = BenchmarkResult.peakResidentMegabytes()
        var peak = 0.0
        var times: [Double] = []
        for _ in 0..<3 {
            let time = try ContinuousClock().measure {
                _ = try loadClassifier(name, weights: .file(file))
            }
            if times.isEmpty { peak = BenchmarkResult.peakResidentMegabytes() - before }
            times.append(time / .seconds(1))
        }
        return LoadResult(model: name, seconds: times, fileMegabytes: size, peakMegabytes: peak)
    }

    var text: String {
        let times = seconds.map { String(format: "%.2f", $0) }.joined(separator: ", ")
        return "\(model): "
            + String(
                format: "%.0f MB in \(times) s, at most %.0f MB of memory (%.2f times the file)", fileMegabytes,
                peakMegabytes, peakMegabytes / fileMegabytes)
    }
}
