/// A position in bytes that are not trusted: every step is checked.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    private(set) var position: Int

    init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
        precondition((0...bytes.count).contains(position))
        self.bytes = bytes
        self.position = position
    }

    var remaining: Int { bytes.count - position }

    mutating func take(_ count: Int) throws(CheckpointError.Problem) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw .damaged("it ends early: \(count) bytes are needed at offset \(position), \(remaining) are there")
        }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
    }

    /// A little-endian integer.
    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type = T.self
    ) throws(CheckpointError.Problem) -> T {
        T(littleEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// A little-endian unsigned 64-bit size, which must fit into `Int`.
    mutating func size64() throws(CheckpointError.Problem) -> Int {
        let value = try integer(UInt64.self)
        guard let size = Int(exactly: value) else {
            throw .damaged("a size of \(value) bytes at offset \(position - 8)")
        }
        return size
    }

    /// The text up to a line break, which is passed over.
    mutating func line() throws(CheckpointError.Problem) -> String {
        guard let end = bytes[position...].firstIndex(of: 0x0a) else {
            throw .damaged("it ends early: no line break after offset \(position)")
        }
        let text = try take(end - position).utf8Text
        _ = try take(1)
        return text
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes as text; what is not UTF-8 is replaced.
    var utf8Text: String { String(decoding: self, as: UTF8.self) }
}
