import Foundation

/// A result that `--json` prints as one line.
protocol JSONLine: Encodable {}

extension JSONLine {
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
