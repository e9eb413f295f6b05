#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A file that appears under its name only when it is complete.
///
/// The bytes go to a temporary file in the same folder; ``commit()`` brings them to the disk and renames it. An object
/// that goes away before that removes the temporary file, and whatever had the name before is untouched.
package final class AtomicFile {
    package let path: String
    private let target: String
    private let temporary: String
    private var descriptor: Int32
    private var buffer: [UInt8] = []
    private static let bufferSize = 1 << 16

    /// Starts a file. Its folder must exist.
    package init(path: String) throws(FileError) {
        self.path = path
        var status = stat()
        let exists = stat(path, &status) == 0
        if exists, let kind = fileKind(status) { throw .notAFile(path: path, kind: kind) }
        // Through a symbolic link, the file that it leads to is replaced, not the link.
        target = exists ? Self.resolved(path) : path

        let folder = Self.folder(of: target)
        var folderStatus = stat()
        guard stat(folder, &folderStatus) == 0, fileKind(folderStatus) == "a folder" else {
            throw .noSuchFolder(folder)
        }
        // Not built from the target's name, which may already be as long as the system allows.
        let suffix = String(UInt64.random(in: .min ... .max), radix: 36)
        temporary = "\(folder)/.recognite-\(suffix).tmp"
        descriptor = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw .lastSystemError("write", path) }
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(temporary)
    }

    /// Appends bytes.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        if buffer.count + bytes.count > Self.bufferSize { try flush() }
        if bytes.count >= Self.bufferSize {
            try writeThrough(bytes)
        } else {
            buffer.append(contentsOf: bytes)
        }
    }

    /// Appends text in UTF-8.
    package func write(_ text: String) throws(FileError) {
        var text = text
        let result = text.withUTF8 { utf8 in
            Result { () throws(FileError) in try write(UnsafeRawBufferPointer(utf8)) }
        }
        try result.get()
    }

    /// Replaces bytes at the file's beginning, which must already have been written.
    package func overwriteStart(with bytes: [UInt8]) throws(FileError) {
        try flush()
        guard pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else {
            throw .lastSystemError("write", path)
        }
    }

    /// Gives the complete file its name. Nothing may be written after it.
    package func commit() throws(FileError) {
        try flush()
        guard fsync(descriptor) == 0, rename(temporary, target) == 0 else { throw .lastSystemError("write", path) }
        close(descriptor)
        descriptor = -1
    }

    private func flush() throws(FileError) {
        guard !buffer.isEmpty else { return }
        let pending = buffer
        buffer.removeAll(keepingCapacity: true)
        let result = pending.withUnsafeBytes { bytes in
            Result { () throws(FileError) in try writeThrough(bytes) }
        }
        try result.get()
    }

    private func writeThrough(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        precondition(descriptor >= 0, "AtomicFile: write after commit")
        var written = 0
        while written < bytes.count {
            #if canImport(Glibc)
                let count = Glibc.write(descriptor, bytes.baseAddress! + written, bytes.count - written)
            #else
                let count = Darwin.write(descriptor, bytes.baseAddress! + written, bytes.count - written)
            #endif
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .lastSystemError("write", path) }
            written += count
        }
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func resolved(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
