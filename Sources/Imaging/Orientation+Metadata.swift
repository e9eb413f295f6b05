extension Orientation {
    /// The orientation in a file's EXIF, or else in its XMP; `up` where neither says anything usable.
    init(of bytes: UnsafeRawBufferPointer, format: ImageFormat) {
        let metadata = ImageMetadata(of: bytes, format: format)
        let tag = Self.exifTag(metadata.exif) ?? Self.xmpTag(metadata.xmp)
        self = tag.flatMap(Orientation.init(rawValue:)) ?? .up
    }

    /// The value of tag 274 in the first directory of an EXIF block, which is a TIFF file.
    static func exifTag(_ exif: [UInt8]) -> Int? {
        exif.withUnsafeBytes { bytes in
            let reader = ByteReader(bytes)
            let order: ByteReader.Endianness
            switch reader.uint16(at: 0, .big) {
            case 0x4949: order = .little
            case 0x4D4D: order = .big
            default: return nil
            }
            guard let directory = reader.uint32(at: 4, order).map(Int.init),
                let count = reader.uint16(at: directory, order)
            else { return nil }
            for entry in 0..<Int(count) {
                let offset = directory + 2 + entry * 12
                guard let tag = reader.uint16(at: offset, order) else { return nil }
                guard tag == 274, reader.uint32(at: offset + 4, order) == 1 else { continue }
                switch reader.uint16(at: offset + 2, order) {
                case 3: return reader.uint16(at: offset + 8, order).map(Int.init)
                case 4: return reader.uint32(at: offset + 8, order).map(Int.init)
                default: return nil
                }
            }
            return nil
        }
    }

    /// The digit after `tiff:Orientation="` or `tiff:Orientation>`.
    static func xmpTag(_ xmp: [UInt8]) -> Int? {
        let name = Array("tiff:Orientation".utf8)
        guard xmp.count > name.count else { return nil }
        for start in 0..<xmp.count - name.count where xmp[start...].starts(with: name) {
            let rest = xmp[(start + name.count)...]
            for mark in ["=\"", ">"] where rest.starts(with: mark.utf8) {
                if let digit = rest.dropFirst(mark.utf8.count).first, (0x30...0x39).contains(digit) {
                    return Int(digit) - 0x30
                }
            }
        }
        return nil
    }
}
