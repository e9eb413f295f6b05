import Foundation
import Recognite

/// One measured cell of training: forward pass, backward pass and step of a classifier with 1000 classes.
struct TrainResult: JSONLine {
    /// What is trained: a model, and the square images of one batch.
    struct Cell: Equatable {
        let model: String
        let side: Int
        let batch: Int

        /// From `model:side:batch`; `nil` if it is something else.
        init?(_ text: String) {
            let parts = text.split(separator: ":")
            guard parts.count == 3, let side = Int(parts[1]), let batch = Int(parts[2]), side > 0, batch > 0 else {
                return nil
            }
            (model, self.side, self.batch) = (String(parts[0]), side, batch)
        }
    }

    let model: String
    let side: Int
    let batch: Int
    let threads: Int
    /// Median time of one step.
    let medianMilliseconds: Double
    let imagesPerSecond: Double
    /// Mean processor time of one step, of all threads together: what remains comparable on one thread while other
    /// processes take their share of the processors.
    let processorMilliseconds: Double
    /// The most memory that the process has held so far.
    let peakResidentMegabytes: Double
    /// The loss of the last step.
    let loss: Float

    private enum CodingKeys: String, CodingKey {
        case model, side, batch, threads, loss
        case medianMilliseconds = "median_ms"
        case imagesPerSecond = "images_per_second"
        case processorMilliseconds = "cpu_ms"
        case peakResidentMegabytes = "peak_rss_mb"
    }

    /// Two steps to warm up, then steps for the given time, three at least.
    static func measure(_ cell: Cell, checkpointed: Bool, seconds: Double) throws -> TrainResult {
        let classes = 1000
        let recognizer = try withRandomSeed(0) {
            try Recognizer(
                cell.model, numClasses: classes, normalize: false,
                imageSize: BenchmarkResult.fixedSize(of: cell.model, side: cell.side))
        }
        recognizer.train()
        try recognizer.checkInput(shape: [cell.batch, cell.side, cell.side, 3])
        recognizer.checkpointBlocks(checkpointed)
        var source = RandomSource(seed: 1)
        let images = Tensor(shape: [cell.batch, cell.side, cell.side, 3]) { target in
            for index in target.indices { target[index] = Float(source.normal()) }
        }
        let labels = (0..<cell.batch).map { $0 * 37 % classes }
        let optimizer = SGD(parameterGroups(of: recognizer, learningRate: 0.001), momentum: 0.9)
        var loss: Float = 0
        let step = {
            let result = recognizer(images).crossEntropy(labels)
            result.backward()
            optimizer.step()
            recognizer.zeroGradients()
            loss = result.scalar
        }
        for _ in 0..<2 { step() }
        var times: [Double] = []
        let watch = ContinuousClock()
        let start = watch.now, busy = processorMilliseconds()
        while times.count < 3 || (watch.now - start < .seconds(seconds) && times.count < 300) {
            times.append(watch.measure(step) / .milliseconds(1))
        }
        let processor = (processorMilliseconds() - busy) / Double(times.count)
        times.sort()
        let median = (times[(times.count - 1) / 2] + times[times.count / 2]) / 2
        return TrainResult(
            model: cell.model, side: cell.side, batch: cell.batch, threads: Engine.threads, medianMilliseconds: median,
            imagesPerSecond: 1000 * Double(cell.batch) / median, processorMilliseconds: processor,
            peakResidentMegabytes: BenchmarkResult.peakResidentMegabytes(), loss: loss)
    }

    /// Processor time of this process so far.
    private static func processorMilliseconds() -> Double {
        let usage = BenchmarkResult.usage()
        let seconds = Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        let microseconds = Double(usage.ru_utime.tv_usec) + Double(usage.ru_stime.tv_usec)
        return 1000 * seconds + microseconds / 1000
    }

    var text: String {
        String(
            format: "training %@ at %d x %d, batch %d, %d threads: %.1f ms a step, %.1f images/s, peak RSS %.0f MB",
            model, side, side, batch, threads, medianMilliseconds, imagesPerSecond, peakResidentMegabytes)
    }
}
