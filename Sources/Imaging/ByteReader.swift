/// Reads numbers out of bytes at offsets that a file names, with `nil` for what lies outside.
struct ByteReader {
    enum Endianness {
        case big, little
    }

    let buffer: UnsafeRawBufferPointer

    init(_ buffer: UnsafeRawBufferPointer) {
        self.buffer = buffer
    }

    init(_ slice: Slice<UnsafeRawBufferPointer>) {
        self.buffer = UnsafeRawBufferPointer(rebasing: slice)
    }

    func bytes(at offset: Int, count: Int) -> Slice<UnsafeRawBufferPointer>? {
        guard offset >= 0, count >= 0, offset <= buffer.count, count <= buffer.count - offset else { return nil }
        return buffer[offset..<offset + count]
    }

    func uint16(at offset: Int, _ order: Endianness) -> UInt16? {
        guard let bytes = bytes(at: offset, count: 2) else { return nil }
        let value = bytes.reduce(UInt16(0)) { $0 << 8 | UInt16($1) }
        return order == .big ? value : value.byteSwapped
    }

    func uint32(at offset: Int, _ order: Endianness) -> UInt32? {
        guard let bytes = bytes(at: offset, count: 4) else { return nil }
        let value = bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return order == .big ? value : value.byteSwapped
    }
}
