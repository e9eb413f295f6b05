#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// All bytes of the file at `path`.
///
/// - Throws: ``ImageError/Reason/unreadable(_:)`` with the system's words.
func readBytes(ofFile path: String) throws(ImageError) -> [UInt8] {
    func failure() -> ImageError { ImageError(.unreadable(String(cString: strerror(errno)))) }
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw failure() }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { throw failure() }
    // A pipe has no size; a file may grow while it is read.
    var bytes = [UInt8](repeating: 0, count: max(Int(status.st_size) + 1, 4096))
    var count = 0
    while true {
        if count == bytes.count { bytes.append(contentsOf: repeatElement(0, count: bytes.count)) }
        let received = bytes.withUnsafeMutableBytes { read(file, $0.baseAddress! + count, $0.count - count) }
        if received < 0 && errno == EINTR { continue }
        guard received >= 0 else { throw failure() }
        if received == 0 { break }
        count += received
    }
    bytes.removeLast(bytes.count - count)
    return bytes
}
