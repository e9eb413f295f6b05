/// The EXIF and XMP blocks of a picture file, empty where there are none.
///
/// Compressed text chunks of PNG are not looked into.
struct ImageMetadata {
    /// A TIFF file, without the `Exif\0\0` that some formats put before it.
    private(set) var exif: [UInt8] = []
    private(set) var xmp: [UInt8] = []

    init(of bytes: UnsafeRawBufferPointer, format: ImageFormat) {
        let reader = ByteReader(bytes)
        switch format {
        case .jpeg: readJPEG(reader)
        case .png: readPNG(reader)
        case .webP: readWebP(reader)
        }
        let prefix = Array("Exif\0\0".utf8)
        while exif.starts(with: prefix) { exif.removeFirst(prefix.count) }
    }

    /// Walks the segments up to the first scan. EXIF that does not fit into one segment goes on in the next.
    private mutating func readJPEG(_ reader: ByteReader) {
        let exifName = Array("Exif\0\0".utf8)
        let xmpName = Array("http://ns.adobe.com/xap/1.0/\0".utf8)
        var offset = 2
        while let marker = reader.uint16(at: offset, .big) {
            // A fill byte, or junk between segments.
            guard marker > 0xFF00, marker != 0xFFFF else {
                offset += 1
                continue
            }
            let standsAlone = (0xFFD0...0xFFD8).contains(marker) || marker == 0xFF01
            if standsAlone {
                offset += 2
                continue
            }
            guard marker != 0xFFDA, let length = reader.uint16(at: offset + 2, .big), length >= 2,
                let segment = reader.bytes(at: offset + 4, count: Int(length) - 2)
            else { return }
            if marker == 0xFFE1, segment.starts(with: exifName) {
                exif += segment.dropFirst(exifName.count)
            } else if marker == 0xFFE1, segment.starts(with: xmpName) {
                xmp = Array(segment.dropFirst(xmpName.count))
            }
            offset += 2 + Int(length)
        }
    }

    private mutating func readPNG(_ reader: ByteReader) {
        // An uncompressed iTXt: keyword, 0, compression flag 0, method, empty language, 0, empty translation, 0.
        let xmpName = Array("XML:com.adobe.xmp\0\0\0\0\0".utf8)
        var offset = 8
        while let length = reader.uint32(at: offset, .big), let name = reader.bytes(at: offset + 4, count: 4),
            let chunk = reader.bytes(at: offset + 8, count: Int(length))
        {
            if name.elementsEqual("eXIf".utf8) {
                exif = Array(chunk)
            } else if name.elementsEqual("iTXt".utf8), chunk.starts(with: xmpName) {
                xmp = Array(chunk.dropFirst(xmpName.count))
            }
            offset += 12 + Int(length)
        }
    }

    private mutating func readWebP(_ reader: ByteReader) {
        var offset = 12
        while let name = reader.bytes(at: offset, count: 4), let length = reader.uint32(at: offset + 4, .little),
            let chunk = reader.bytes(at: offset + 8, count: Int(length))
        {
            if name.elementsEqual("EXIF".utf8), exif.isEmpty {
                exif = Array(chunk)
            } else if name.elementsEqual("XMP ".utf8), xmp.isEmpty {
                xmp = Array(chunk)
            }
            offset += 8 + (Int(length) + 1) & ~1
        }
    }
}
