import Foundation
import Recognite

/// Text to a file that appears when it is complete, or to standard output.
final class TextOutput {
    private let file: AtomicFile?

    init(path: String?) throws { file = try path.map { path throws in try AtomicFile(path: path) } }

    func write(_ text: String) throws {
        if let file { try file.write(text) } else { FileHandle.standardOutput.write(Data(text.utf8)) }
    }

    func finish() throws { try file?.commit() }
}
