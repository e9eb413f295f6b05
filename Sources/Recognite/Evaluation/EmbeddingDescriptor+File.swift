import Foundation
import ModelZoo
import Tensors

/// A descriptor's file is a safetensors file: under `__metadata__` the version as `recognite.descriptor` and the
/// settings as `settings`, in JSON; with a whitening, the tensors `whitening.mean` and `whitening.projection`.
extension EmbeddingDescriptor {
    /// The version of the files that are written and read here.
    public static let version = "1"

    private static let versionKey = "recognite.descriptor"
    private static let settingsKey = "settings"
    private static let meanKey = "whitening.mean"
    private static let projectionKey = "whitening.projection"

    /// Writes the descriptor as one safetensors file. On an error, a file that was there before stays as it was.
    ///
    /// - Throws: `FileError`.
    public func write(to path: String) throws {
        var tensors = StateDict()
        if let whitening {
            tensors[Self.meanKey] = StateDict.Entry(whitening.mean)
            tensors[Self.projectionKey] = StateDict.Entry(whitening.projection)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let json = String(decoding: try encoder.encode(settings), as: UTF8.self)
        try tensors.write(
            safetensorsTo: path, metadata: [Self.versionKey: Self.version, Self.settingsKey: json])
    }

    /// Reads a descriptor that ``write(to:)`` has written.
    ///
    /// - Throws: `CheckpointError` for a file that cannot be read or is damaged, ``DescriptorError`` for one of
    ///   something else, of another version, or with settings or tensors that make no sense.
    public init(contentsOf path: String) throws {
        let file = try Checkpoint(contentsOf: path)
        guard let version = file.metadata[Self.versionKey] else { throw DescriptorError.notADescriptor(path: path) }
        guard version == Self.version else {
            throw DescriptorError.unknownVersion(path: path, version: String(version.prefix(40)))
        }
        self.init(try Self.settings(file), whitening: try Self.whitening(file))
    }

    private static func settings(_ file: Checkpoint) throws(DescriptorError) -> Settings {
        func failure(_ reason: String) -> DescriptorError { .invalidSettings(path: file.path, reason: reason) }
        guard let json = file.metadata[settingsKey] else { throw failure("there are none") }
        guard let settings = try? JSONDecoder().decode(Settings.self, from: Data(json.utf8)) else {
            throw failure("they cannot be understood: \(json.prefix(200))")
        }
        if let problem = settings.problem { throw failure(problem) }
        return settings
    }

    private static func whitening(_ file: Checkpoint) throws -> PCAWhitening? {
        func failure(_ reason: String) -> DescriptorError { .wrongTensors(path: file.path, reason: reason) }
        let known = [meanKey, projectionKey]
        if let other = file.stateDict.keys.first(where: { !known.contains($0) }) {
            throw failure("\"\(other.prefix(100))\" is none of a descriptor's")
        }
        guard file.stateDict.count > 0 else { return nil }
        guard let mean = file.stateDict[meanKey], let projection = file.stateDict[projectionKey] else {
            throw failure("\(meanKey) and \(projectionKey) belong together, and one is missing")
        }
        guard PCAWhitening.areShapes(mean: mean.shape, projection: projection.shape) else {
            throw failure(
                "\(meanKey) has the shape \(mean.shape.prefix(4)), \(projectionKey) \(projection.shape.prefix(4)); "
                    + "[D] and [D', D] are expected, D' at most D")
        }
        let (means, rows) = (try mean.tensor(), try projection.tensor())
        for (key, tensor) in [(meanKey, means), (projectionKey, rows)] where !tensor.scalars.allSatisfy(\.isFinite) {
            throw failure("\(key) has elements that are not finite")
        }
        return PCAWhitening(mean: means, projection: rows)
    }
}
