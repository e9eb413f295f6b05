/// The checksum of zip members (polynomial 0xEDB88320), 16 bytes a step, so that checking a file costs less than
/// reading it.
enum CRC32 {
    /// `tables[k * 256 + b]`: the effect of byte `b` followed by `k` zero bytes. Never freed, never changed.
    private nonisolated(unsafe) static let tables: UnsafePointer<UInt32> = {
        let tables = UnsafeMutablePointer<UInt32>.allocate(capacity: 16 * 256)
        for byte in 0..<256 {
            tables[byte] = (0..<8).reduce(UInt32(byte)) { crc, _ in crc >> 1 ^ (crc & 1 == 0 ? 0 : 0xEDB8_8320) }
        }
        for index in 256..<16 * 256 {
            let previous = tables[index - 256]
            tables[index] = previous >> 8 ^ tables[Int(previous & 0xff)]
        }
        return UnsafePointer(tables)
    }()

    static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let tables = self.tables
        var crc = ~UInt32(0)
        guard var next = bytes.baseAddress else { return 0 }
        let end = next + bytes.count
        while end - next >= 16 {
            let low = next.loadUnaligned(as: UInt64.self).littleEndian ^ UInt64(crc)
            let high = (next + 8).loadUnaligned(as: UInt64.self).littleEndian
            var sum: UInt32 = 0
            for k in 0..<8 {
                sum ^= tables[(15 - k) * 256 + Int(truncatingIfNeeded: low >> (8 * UInt64(k)) & 0xff)]
                sum ^= tables[(7 - k) * 256 + Int(truncatingIfNeeded: high >> (8 * UInt64(k)) & 0xff)]
            }
            crc = sum
            next += 16
        }
        while next < end {
            crc = crc >> 8 ^ tables[Int(UInt8(truncatingIfNeeded: crc) ^ next.load(as: UInt8.self))]
            next += 1
        }
        return ~crc
    }
}
