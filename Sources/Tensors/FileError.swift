#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Why a file could not be opened or written.
public enum FileError: Error, Equatable, Sendable {
    /// The folder that the file should lie in does not exist.
    case noSuchFolder(String)
    /// There is a folder or a device of this name where a file was expected.
    case notAFile(path: String, kind: String)
    /// The system refused: what was tried, and its reason.
    case system(path: String, operation: String, reason: String)

    /// The reason in `errno`; call it at once after the failed call.
    package static func lastSystemError(_ operation: String, _ path: String) -> FileError {
        .system(path: path, operation: operation, reason: String(cString: strerror(errno)))
    }
}

extension FileError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .noSuchFolder(let path): "no such folder: \(path)"
        case .notAFile(let path, let kind): "\(path): is \(kind), not a file"
        case .system(let path, let operation, let reason): "\(path): cannot \(operation): \(reason)"
        }
    }
}
