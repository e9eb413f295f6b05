import CZip

/// Decompresses members of a zip archive in memory with libzip.
enum ZipInflater {
    /// The content of a compressed member, whose checksum libzip compares.
    static func inflate(
        _ member: ZipDirectory.Member, of archive: UnsafeRawBufferPointer
    ) throws(CheckpointError.Problem) -> [UInt8] {
        guard let source = zip_source_buffer_create(archive.baseAddress, UInt64(archive.count), 0, nil) else {
            throw damaged(member, "libzip cannot open the archive")
        }
        guard let zip = zip_open_from_source(source, ZIP_RDONLY, nil) else {
            zip_source_free(source)
            throw damaged(member, "libzip cannot open the archive")
        }
        defer { zip_discard(zip) }
        guard let file = zip_fopen(zip, member.name, 0) else {
            throw damaged(member, String(cString: zip_strerror(zip)))
        }
        defer { zip_fclose(file) }
        let content = [UInt8](unsafeUninitializedCapacity: member.size) { buffer, count in
            count = max(0, Int(zip_fread(file, buffer.baseAddress, UInt64(member.size))))
        }
        // libzip compares the checksum when it comes to the member's end.
        var beyond: UInt8 = 0
        guard content.count == member.size, zip_fread(file, &beyond, 1) == 0 else {
            throw damaged(member, "its content is not \(member.size) bytes with the right checksum")
        }
        return content
    }

    private static func damaged(_ member: ZipDirectory.Member, _ reason: String) -> CheckpointError.Problem {
        .damaged("the compressed zip member \(printable(member.name)): \(reason)")
    }
}
