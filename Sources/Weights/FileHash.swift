import Crypto
import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The SHA-256 of an open file's content, in hexadecimal digits.
func sha256(ofDescriptor descriptor: Int32, path: String) throws(FileError) -> String {
    var hash = SHA256()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var offset = 0
    while true {
        let count = pread(descriptor, &buffer, buffer.count, off_t(offset))
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw .lastSystemError("read", path) }
        if count == 0 { break }
        buffer.withUnsafeBytes { hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        offset += count
    }
    return hash.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
