import Foundation
import Recognite
import Yams

/// A training configuration as a YAML file: `option: value`, under the names of the command's options.
enum ConfigurationFile {
    /// The configuration of a file; what the file leaves out has its default.
    ///
    /// - Throws: `InputError` with the file, and the option where there is one.
    static func read(_ path: String) throws -> TrainingConfiguration {
        guard let yaml = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw InputError(path: path, problem: "cannot be read")
        }
        do {
            guard let given = try Yams.compose(yaml: yaml) else { return TrainingConfiguration() }
            guard let options = given.mapping else {
                throw InputError(path: path, problem: "is no list of options, \"name: value\" on each line")
            }
            let unknown = options.keys.map { $0.string ?? "?" }.filter { !TrainingConfiguration.names.contains($0) }
            guard unknown.isEmpty else {
                throw InputError(path: path, problem: "unknown options: \(unknown.joined(separator: ", "))")
            }
            var merged = try Yams.compose(yaml: text(of: TrainingConfiguration()))!
            for (key, value) in options { merged.mapping![key] = value }
            return try YAMLDecoder().decode(TrainingConfiguration.self, from: Yams.serialize(node: merged))
        } catch let error as DecodingError {
            throw InputError(path: path, problem: error.explanation)
        } catch let error as YamlError {
            throw InputError(path: path, problem: "\(error)")
        }
    }

    static func text(of configuration: TrainingConfiguration) throws -> String {
        try YAMLEncoder().encode(configuration)
    }

    static func write(_ configuration: TrainingConfiguration, to path: String) throws {
        let output = try TextOutput(path: path)
        try output.write(try text(of: configuration))
        try output.finish()
    }
}

extension DecodingError {
    fileprivate var explanation: String {
        func name(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
        switch self {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return "\(name(context.codingPath)): \(context.debugDescription)"
        case .keyNotFound(let key, _): return "\(key.stringValue) is missing"
        @unknown default: return "\(self)"
        }
    }
}
