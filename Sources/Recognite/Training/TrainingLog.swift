import Foundation
import Tensors

/// Writes a run's logs. A resumed run's go on where its checkpoint was made: what was written after it is taken out.
final class TrainingLog {
    /// One step of the optimizer.
    struct Step: Codable {
        var event = "step"
        let epoch: Int
        let step: Int
        let loss: Double
        let learningRate: Double
        let gradientNorm: Double?
        let imagesPerSecond: Double
    }

    /// One epoch, with its validation.
    struct Epoch: Codable {
        var event = "epoch"
        let epoch: Int
        /// Steps so far.
        let step: Int
        let loss: Double
        let learningRate: Double
        let imagesPerSecond: Double
        let seconds: Double
        let metrics: [String: Double]
    }

    private struct Position: Decodable {
        let event: String
        let epoch: Int
        let step: Int
    }

    private let folder: RunFolder
    private let lines: FileHandle
    private let board: TensorBoardFile
    private var epochs: [Epoch] = []
    private let encoder: JSONEncoder

    /// - Parameter progress: where the run is; at its beginning, files of an earlier run are started anew.
    init(folder: RunFolder, at progress: TrainingProgress) throws {
        self.folder = folder
        encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")

        let old = (try? String(contentsOfFile: folder.logPath, encoding: .utf8)) ?? ""
        let kept = old.split(separator: "\n").filter { line in
            guard let position = try? decoder.decode(Position.self, from: Data(line.utf8)) else { return false }
            return position.event == "epoch" ? position.epoch < progress.epoch : position.step <= progress.step
        }
        epochs = kept.compactMap { line in
            guard let epoch = try? decoder.decode(Epoch.self, from: Data(line.utf8)), epoch.event == "epoch"
            else { return nil }
            return epoch
        }
        let file = try AtomicFile(path: folder.logPath)
        for line in kept { try file.write(line + "\n") }
        try file.commit()
        guard let handle = FileHandle(forWritingAtPath: folder.logPath) else {
            throw FileError.lastSystemError("write", folder.logPath)
        }
        try handle.seekToEnd()
        lines = handle
        board = try TensorBoardFile(folder: folder.path, step: progress.step + 1)
        if !epochs.isEmpty { try writeMetrics() }
    }

    func write(_ step: Step) throws {
        try append(step)
        var scalars = [
            ("train/loss", step.loss), ("train/learning_rate", step.learningRate),
            ("train/images_per_second", step.imagesPerSecond),
        ]
        if let norm = step.gradientNorm { scalars.append(("train/gradient_norm", norm)) }
        try board.write(scalars, step: step.step)
    }

    func write(_ epoch: Epoch) throws {
        try append(epoch)
        epochs.append(epoch)
        try board.write(
            [("epoch/loss", epoch.loss)] + epoch.metrics.sorted { $0.key < $1.key }.map { ("val/\($0.key)", $0.value) },
            step: epoch.step)
        try writeMetrics()
    }

    private func append(_ record: some Encodable) throws {
        do { try lines.write(contentsOf: try encoder.encode(record) + Data("\n".utf8)) } catch {
            throw FileError.system(path: folder.logPath, operation: "write", reason: "\(error)")
        }
    }

    /// `metrics.csv`, anew: a row for each epoch.
    private func writeMetrics() throws {
        let names = Set(epochs.flatMap(\.metrics.keys)).sorted()
        let header = ["epoch", "step", "loss", "learning_rate", "images_per_second", "seconds"] + names
        let rows = epochs.map { epoch in
            ["\(epoch.epoch)", "\(epoch.step)", "\(epoch.loss)", "\(epoch.learningRate)", "\(epoch.imagesPerSecond)"]
                + ["\(epoch.seconds)"] + names.map { epoch.metrics[$0].map { "\($0)" } ?? "" }
        }
        let file = try AtomicFile(path: folder.metricsPath)
        for row in [header] + rows { try file.write(row.joined(separator: ",") + "\n") }
        try file.commit()
    }
}
