import Foundation
import Layers
import ModelZoo
import Tensors

/// The folder of a training run: its configuration, checkpoints and logs.
///
/// | file | what |
/// |---|---|
/// | `checkpoint.safetensors` | all that the run needs to go on: weights, optimizer, averages, progress |
/// | `last.safetensors`, `best.safetensors` | the recognizer's weights, for Swift and Python |
/// | `log.jsonl` | a line for each step and each epoch |
/// | `metrics.csv` | a row for each epoch |
/// | `events.out.tfevents.…` | the same for TensorBoard |
///
/// Each file but the logs appears under its name when it is complete.
public struct RunFolder: Sendable {
    public let path: String

    /// Creates the folder, if need be.
    ///
    /// - Throws: `FileError`.
    public init(_ path: String) throws(FileError) {
        self.path = path
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw .system(path: path, operation: "create", reason: error.localizedDescription)
        }
    }

    public var checkpointPath: String { path + "/checkpoint.safetensors" }
    public var lastPath: String { path + "/last.safetensors" }
    public var bestPath: String { path + "/best.safetensors" }
    var logPath: String { path + "/log.jsonl" }
    var metricsPath: String { path + "/metrics.csv" }

    public var hasCheckpoint: Bool { FileManager.default.fileExists(atPath: checkpointPath) }
}

/// A training state in a file.
struct TrainingCheckpoint {
    static let version = "1"

    var progress: TrainingProgress
    var model: StateDict
    var optimizer: StateDict
    var average: StateDict?

    func write(to path: String) throws {
        var all = StateDict()
        for (prefix, part) in [("model.", model), ("optimizer.", optimizer), ("average.", average ?? StateDict())] {
            for (key, entry) in part { all[prefix + key] = entry }
        }
        let json = String(decoding: try JSONEncoder().encode(progress), as: UTF8.self)
        try all.write(
            safetensorsTo: path,
            metadata: ["recognite.training": Self.version, "progress": json, "average": average == nil ? "no" : "yes"])
    }

    init(progress: TrainingProgress, model: StateDict, optimizer: StateDict, average: StateDict?) {
        self.progress = progress
        self.model = model
        self.optimizer = optimizer
        self.average = average
    }

    /// - Throws: `CheckpointError`, ``TrainingError``.
    init(contentsOf path: String) throws {
        let file = try Checkpoint(contentsOf: path)
        guard let version = file.metadata["recognite.training"], let json = file.metadata["progress"] else {
            throw TrainingError.checkpointMismatch(path: path, reason: "it holds weights, but no training state")
        }
        guard version == Self.version else {
            throw TrainingError.checkpointMismatch(
                path: path, reason: "its version is \(version); this program reads version \(Self.version)")
        }
        do {
            progress = try JSONDecoder().decode(TrainingProgress.self, from: Data(json.utf8))
        } catch {
            throw TrainingError.checkpointMismatch(path: path, reason: "its progress cannot be read: \(error)")
        }
        func part(_ prefix: String) -> StateDict {
            file.stateDict.mapKeys { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
        }
        model = part("model.")
        optimizer = part("optimizer.")
        average = file.metadata["average"] == "yes" ? part("average.") : nil
    }
}
