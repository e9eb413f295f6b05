import Foundation
import Recognite

/// One measured cell.
struct BenchmarkResult: JSONLine {
    let model: String
    let batch: Int
    /// Of the square images, in pixels.
    let side: Int
    let threads: Int
    /// Median time of one run over the batch.
    let medianMilliseconds: Double
    let imagesPerSecond: Double
    /// The most memory that the process has held so far.
    let peakResidentMegabytes: Double
    /// Sum over the output of each element times its position plus one: equal outputs, equal sums.
    let checksum: Double

    private enum CodingKeys: String, CodingKey {
        case model, batch, side, threads
        case medianMilliseconds = "median_ms"
        case imagesPerSecond = "images_per_second"
        case peakResidentMegabytes = "peak_rss_mb"
        case checksum
    }

    /// - Parameter side: `nil`: what the peers are measured at, also for architectures whose published weights want another
    ///   size: 224, and 299 for Inception v3.
    static func measure(_ name: String, batch: Int, side: Int?, seconds: Double) throws -> BenchmarkResult {
        let side = side ?? (name == "inception_v3" ? 299 : 224)
        let recognizer = try withRandomSeed(0) { try Recognizer(name, imageSize: fixedSize(of: name, side: side)) }
        recognizer.eval()
        try recognizer.checkInput(shape: [batch, side, side, 3])
        var source = RandomSource(seed: 1)
        let images = Tensor(shape: [batch, side, side, 3]) { target in
            for index in target.indices { target[index] = Float(source.normal()) }
        }
        let run = { GradientMode.disabled { recognizer(images) } }
        var output = run()
        var times: [Double] = []
        let clock = ContinuousClock()
        let start = clock.now
        while times.count < 3 || (clock.now - start < .seconds(seconds) && times.count < 300) {
            times.append(clock.measure { output = run() } / .milliseconds(1))
        }
        times.sort()
        let median = (times[(times.count - 1) / 2] + times[times.count / 2]) / 2
        let checksum = output.scalars.enumerated().reduce(0.0) { $0 + Double($1.element) * Double($1.offset + 1) }
        return BenchmarkResult(
            model: name, batch: batch, side: side, threads: Engine.threads, medianMilliseconds: median,
            imagesPerSecond: 1000 * Double(batch) / median, peakResidentMegabytes: peakResidentMegabytes(),
            checksum: checksum)
    }

    /// The side that a model must be made for to take images of `side`: `nil` where it takes those of any size.
    static func fixedSize(of name: String, side: Int) throws -> Int? {
        try ModelRegistry.entry(name).hasFixedInputSize ? side : nil
    }

    /// What the process holds now; where the system does not say, the most that it has held.
    static func residentMegabytes() -> Double {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
            let pages = text.split(separator: " ").dropFirst().first.flatMap({ Double($0) })
        else { return peakResidentMegabytes() }
        return pages * Double(sysconf(Int32(_SC_PAGESIZE))) / 1_048_576
    }

    /// What this process has used so far.
    static func usage() -> rusage {
        var usage = rusage()
        #if canImport(Glibc)
            getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        #else
            getrusage(RUSAGE_SELF, &usage)
        #endif
        return usage
    }

    static func peakResidentMegabytes() -> Double {
        #if canImport(Glibc)
            return Double(usage().ru_maxrss) / 1024
        #else
            return Double(usage().ru_maxrss) / 1024 / 1024
        #endif
    }

    private static let columns = [24, 6, 8, 11, 11, 12]

    static let header = pad(["model", "batch", "threads", "ms (median)", "images/s", "peak RSS MB"])

    var row: String {
        Self.pad([
            model, "\(batch)", "\(threads)", String(format: "%.2f", medianMilliseconds),
            String(format: "%.1f", imagesPerSecond), String(format: "%.0f", peakResidentMegabytes),
        ])
    }

    private static func pad(_ cells: [String]) -> String {
        zip(cells, columns).enumerated().map { column, cell in
            let padding = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
            return column == 0 ? cell.0 + padding : padding + cell.0
        }.joined(separator: " ")
    }
}
