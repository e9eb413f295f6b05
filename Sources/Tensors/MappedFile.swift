#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A whole file in memory, read-only, loaded page by page as it is touched.
///
/// The file must not be cut short while it is mapped: the system would end the process on touching the lost part.
package final class MappedFile: Sendable {
    package let path: String
    /// Valid while this object is alive. It is never written, so that threads may share it.
    package nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    /// Maps an existing regular file.
    package init(path: String) throws(FileError) {
        self.path = path
        // O_NONBLOCK, because opening a pipe would wait for its writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .lastSystemError("open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .lastSystemError("open", path) }
        if let kind = fileKind(status) { throw .notAFile(path: path, kind: kind) }
        let size = Int(status.st_size)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
            throw .lastSystemError("read", path)
        }
        madvise(start, size, MADV_WILLNEED)
        bytes = UnsafeRawBufferPointer(start: start, count: size)
    }

    /// Gives the memory of a part back that is not needed soon; touching it again loads it again.
    package func release(_ range: Range<Int>) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let start = (range.lowerBound + page - 1) / page * page
        let end = range.upperBound / page * page
        guard start < end, let base = bytes.baseAddress else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + start), end - start, MADV_DONTNEED)
    }

    deinit {
        if let start = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: start), bytes.count) }
    }
}

/// What a path leads to when it is not a regular file; `nil` for a regular file.
func fileKind(_ status: stat) -> String? {
    switch status.st_mode & S_IFMT {
    case S_IFREG: nil
    case S_IFDIR: "a folder"
    case S_IFIFO: "a pipe"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
}
