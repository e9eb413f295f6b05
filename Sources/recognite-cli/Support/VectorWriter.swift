import Foundation
import Recognite

/// Writes named vectors to a file, in the format that its ending names, or to standard output.
final class VectorWriter {
    private enum Target {
        case npy(String, NumpyWriter?)
        case text(TextOutput, isCSV: Bool)
    }
    private var target: Target
    private var hasHeader = false

    /// - Parameter path: ends with `.npy`, `.csv` or `.jsonl`; `nil`: JSON lines on standard output.
    init(path: String?) throws {
        guard let path else {
            target = .text(try TextOutput(path: nil), isCSV: false)
            return
        }
        switch (path as NSString).pathExtension.lowercased() {
        case "npy": target = .npy(path, nil)
        case "csv": target = .text(try TextOutput(path: path), isCSV: true)
        case "jsonl": target = .text(try TextOutput(path: path), isCSV: false)
        default: throw InputError(path: path, problem: "the output must be a .npy, .csv or .jsonl file")
        }
    }

    func write(_ results: [BatchRunner.Result]) throws {
        switch target {
        case .npy(let path, let existing):
            for result in results {
                let writer = try existing ?? currentNumpyWriter ?? NumpyWriter(path: path, columns: result.output.count)
                target = .npy(path, writer)
                try writer.append(result.output.reshaped([1, result.output.count]))
            }
        case .text(let output, let isCSV):
            for result in results {
                if isCSV {
                    try writeCSV(result, to: output)
                } else {
                    try output.write(
                        JSONText.encode(JSONRow(input: result.name, vector: result.output.scalars), pretty: false)
                            + "\n")
                }
            }
        }
    }

    private var currentNumpyWriter: NumpyWriter? {
        if case .npy(_, let writer) = target { writer } else { nil }
    }

    private struct JSONRow: Encodable {
        let input: String
        let vector: [Float]
    }

    private func writeCSV(_ result: BatchRunner.Result, to output: TextOutput) throws {
        if !hasHeader {
            try output.write((["input"] + result.output.scalars.indices.map { "\($0)" }).joined(separator: ",") + "\n")
            hasHeader = true
        }
        let quoted = "\"" + result.name.replacingOccurrences(of: "\"", with: "\"\"") + "\""
        let name = result.name.contains(where: { ",\"\n\r".contains($0) }) ? quoted : result.name
        try output.write(([name] + result.output.scalars.map { "\($0)" }).joined(separator: ",") + "\n")
    }

    /// Gives the file its name. Before that, nothing of it is to be seen.
    func finish() throws {
        switch target {
        case .npy(let path, let writer):
            guard let writer else { throw InputError(path: path, problem: "nothing to write: no input could be read") }
            try writer.finish()
        case .text(let output, _): try output.finish()
        }
    }
}
