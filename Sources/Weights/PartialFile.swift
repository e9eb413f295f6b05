import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The beginning of a file that is being downloaded, under a name of its own beside the target, and the lock that lets
/// one process at a time write it.
///
/// The lock is on the file itself: it goes with the process that held it, however that ended, and no lock file is left.
final class PartialFile: @unchecked Sendable {
    let path: String
    let target: String
    private let descriptor: Int32

    /// Opens or creates the file and waits until nobody else holds it.
    ///
    /// - Returns: `nil` if the target was there by then.
    /// - Parameter onWaiting: called if somebody else does.
    static func lock(target: String, onWaiting: () -> Void) throws(FileError) -> PartialFile? {
        let path = target + ".partial"
        var hasWaited = false
        while true {
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
            guard descriptor >= 0 else { throw .lastSystemError("write", path) }
            if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
                if !hasWaited { onWaiting() }
                hasWaited = true
                while flock(descriptor, LOCK_EX) != 0 {
                    guard errno == EINTR else {
                        let error = FileError.lastSystemError("lock", path)
                        close(descriptor)
                        throw error
                    }
                }
            }
            // Whoever held the lock has renamed or deleted the file if it was complete or wrong: then this one has no
            // name any more, and nothing may be written to it.
            var (ours, named) = (stat(), stat())
            let isCurrent =
                fstat(descriptor, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino
                && ours.st_dev == named.st_dev
            let file = PartialFile(path: path, target: target, descriptor: descriptor)
            if access(target, F_OK) == 0 {
                if isCurrent { file.deleteIfEmpty() }
                return nil
            }
            if isCurrent { return file }
        }
    }

    private init(path: String, target: String, descriptor: Int32) {
        self.path = path
        self.target = target
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Bytes that are there.
    var size: Int {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int(status.st_size) : 0
    }

    func truncate() throws(FileError) {
        guard ftruncate(descriptor, 0) == 0 else { throw .lastSystemError("write", path) }
    }

    /// Writes bytes behind those that are there.
    func append(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var offset = size
        var rest = bytes
        while !rest.isEmpty {
            let count = pwrite(descriptor, rest.baseAddress!, rest.count, off_t(offset))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .lastSystemError("write", path) }
            offset += count
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    func hash() throws(FileError) -> String { try sha256(ofDescriptor: descriptor, path: path) }

    /// Gives the complete file its name.
    func commit() throws(FileError) {
        guard fsync(descriptor) == 0, rename(path, target) == 0 else { throw .lastSystemError("write", target) }
    }

    func delete() { unlink(path) }

    /// Leaves nothing behind where nothing has come. After a commit the name is not this file's any more.
    func deleteIfEmpty() { if size == 0 { delete() } }
}
