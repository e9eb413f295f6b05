/// The members of a zip archive and where their bytes lie.
///
/// libzip reads archives too (see ``ZipInflater``), but it gives no offsets, and copies every byte it hands out; the
/// members that `torch.save` writes are stored as they are and can be used where they lie in the mapped file.
/// Format: APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.14–16.
struct ZipDirectory {
    struct Member: Sendable {
        let name: String
        /// Where the stored bytes lie in the archive.
        let range: Range<Int>
        /// Bytes of the content; more than `range` holds when it is compressed.
        let size: Int
        let isCompressed: Bool
        /// 0 when the writer did not compute it (`torch.serialization.set_crc32_options(False)`).
        let checksum: UInt32
    }

    /// In the directory's order.
    let members: [Member]
    private let indices: [String: Int]

    subscript(name: String) -> Member? { indices[name].map { members[$0] } }

    private static let directorySignature: UInt32 = 0x0201_4b50
    private static let memberSignature: UInt32 = 0x0403_4b50

    init(_ archive: UnsafeRawBufferPointer) throws(CheckpointError.Problem) {
        let end = try EndRecord(archive)
        var reader = ByteReader(archive, at: end.directoryOffset)
        var members: [Member] = []
        var indices: [String: Int] = [:]
        var inflated = 0
        // Not `reserveCapacity`: the count is a claim of the file.
        for _ in 0..<end.count {
            let member = try Self.member(archive, &reader, before: end.directoryOffset)
            if member.isCompressed { inflated += member.size }
            // Deflate can blow up 1000 times, weights never do.
            guard inflated <= 16 * archive.count + 1 << 20 else {
                throw .unsupported("compressed members that are more than 16 times as large as the whole archive")
            }
            guard indices.updateValue(members.count, forKey: member.name) == nil else {
                throw .damaged("two members are named \(printable(member.name))")
            }
            members.append(member)
        }
        self.members = members
        self.indices = indices
    }

    private static func member(
        _ archive: UnsafeRawBufferPointer, _ reader: inout ByteReader, before limit: Int
    ) throws(CheckpointError.Problem) -> Member {
        guard try reader.integer(UInt32.self) == directorySignature else {
            throw .damaged("the zip directory is not readable at offset \(reader.position - 4)")
        }
        _ = try reader.take(4)  // versions
        let flags = try reader.integer(UInt16.self)
        let method = try reader.integer(UInt16.self)
        _ = try reader.take(4)  // time and date
        let checksum = try reader.integer(UInt32.self)
        var stored = Int(try reader.integer(UInt32.self))
        var size = Int(try reader.integer(UInt32.self))
        let nameLength = Int(try reader.integer(UInt16.self))
        let extraLength = Int(try reader.integer(UInt16.self))
        let commentLength = Int(try reader.integer(UInt16.self))
        _ = try reader.take(8)  // disk, attributes
        var offset = Int(try reader.integer(UInt32.self))
        let nameBytes = try reader.take(nameLength)
        let name = nameBytes.utf8Text
        var extra = ByteReader(try reader.take(extraLength))
        _ = try reader.take(commentLength)

        // Fields that do not fit into 32 bits are all ones here, and follow in the extra field of id 1, in this order.
        while extra.remaining >= 4 {
            let id = try extra.integer(UInt16.self)
            var field = ByteReader(try extra.take(Int(try extra.integer(UInt16.self))))
            guard id == 1 else { continue }
            if size == 0xffff_ffff { size = try field.size64() }
            if stored == 0xffff_ffff { stored = try field.size64() }
            if offset == 0xffff_ffff { offset = try field.size64() }
        }

        guard flags & 1 == 0 else { throw .unsupported("the encrypted zip member \(printable(name))") }
        guard method == 0 || method == 8 else {
            throw .unsupported("the zip member \(printable(name)) with compression method \(method)")
        }
        guard method == 8 || stored == size else {
            throw .damaged("the zip member \(printable(name)) is stored, but has two sizes: \(stored) and \(size)")
        }
        // The sizes are added and multiplied below; a deflated byte yields at most 1032.
        guard stored <= archive.count, size / 1032 <= stored, offset <= limit else {
            throw .damaged("the zip member \(printable(name)) is larger than the file")
        }

        // The member's own header has a name and an extra field of its own lengths.
        var header = ByteReader(archive, at: offset)
        guard try header.integer(UInt32.self) == memberSignature else {
            throw .damaged("no zip member at offset \(offset), where \(printable(name)) should be")
        }
        _ = try header.take(22)
        let ownNameLength = Int(try header.integer(UInt16.self))
        let ownExtraLength = Int(try header.integer(UInt16.self))
        guard try header.take(ownNameLength).elementsEqual(nameBytes) else {
            throw .damaged("the zip member at offset \(offset) is not \(printable(name))")
        }
        _ = try header.take(ownExtraLength)
        guard header.position <= limit, stored <= limit - header.position else {
            throw .damaged("the zip member \(printable(name)) reaches beyond the archive's members")
        }
        return Member(
            name: name, range: header.position..<header.position + stored, size: size, isCompressed: method == 8,
            checksum: checksum)
    }
}

/// Where the directory is, which stands at the archive's end.
private struct EndRecord {
    let directoryOffset: Int
    let count: Int

    init(_ archive: UnsafeRawBufferPointer) throws(CheckpointError.Problem) {
        let end = try Self.find(archive)
        var reader = ByteReader(archive, at: end + 8)
        _ = try reader.integer(UInt16.self)
        var count = Int(try reader.integer(UInt16.self))
        var size = Int(try reader.integer(UInt32.self))
        var offset = Int(try reader.integer(UInt32.self))
        var limit = end
        if count == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff, end >= 20 {
            var locator = ByteReader(archive, at: end - 20)
            if try locator.integer(UInt32.self) == 0x0706_4b50 {
                _ = try locator.take(4)
                limit = try locator.size64()
                guard limit <= end - 20 else { throw .damaged("the zip64 end record lies outside the file") }
                var record = ByteReader(archive, at: limit)
                guard try record.integer(UInt32.self) == 0x0606_4b50 else {
                    throw .damaged("no zip64 end record at offset \(limit)")
                }
                _ = try record.take(28)
                count = try record.size64()
                size = try record.size64()
                offset = try record.size64()
            }
        }
        // A directory entry takes 46 bytes or more, so that the count is bounded by the file's size.
        guard offset <= limit, size <= limit - offset, count <= size / 46 else {
            throw .damaged("the zip directory does not fit into the file")
        }
        self.directoryOffset = offset
        self.count = count
    }

    /// The end record: 22 bytes and a comment that reaches to the end of the file.
    private static func find(_ archive: UnsafeRawBufferPointer) throws(CheckpointError.Problem) -> Int {
        var offset = archive.count - 22
        let lowest = max(0, offset - 0xffff)
        while offset >= lowest {
            let comment = Int(archive.loadUnaligned(fromByteOffset: offset + 20, as: UInt16.self).littleEndian)
            if archive.loadUnaligned(fromByteOffset: offset, as: UInt32.self).littleEndian == 0x0605_4b50,
                comment == archive.count - offset - 22
            {
                return offset
            }
            offset -= 1
        }
        throw .damaged("the zip archive has no directory at its end; it is probably cut short")
    }
}
