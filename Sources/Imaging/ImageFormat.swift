/// The kinds of picture files that are decoded here.
public enum ImageFormat: String, CaseIterable, Hashable, Sendable {
    case jpeg = "JPEG"
    case png = "PNG"
    case webP = "WebP"

    /// The format of a file that starts with `bytes`, by its content.
    ///
    /// - Throws: `empty`, `unsupported` with the name of a format that is known but not decoded, or `notAnImage`.
    public init(detecting bytes: UnsafeRawBufferPointer) throws(ImageError) {
        if bytes.isEmpty { throw ImageError(.empty) }
        func holds(_ text: StaticString, at offset: Int = 0) -> Bool {
            text.withUTF8Buffer { $0.count + offset <= bytes.count && bytes[offset...].starts(with: $0) }
        }
        func holds(_ values: [UInt8]) -> Bool { bytes.starts(with: values) }
        if holds([0xFF, 0xD8, 0xFF]) {
            self = .jpeg
        } else if holds([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
            self = .png
        } else if holds("RIFF"), holds("WEBP", at: 8) {
            self = .webP
        } else if holds("GIF8") {
            throw ImageError(.unsupported("GIF"))
        } else if holds("BM") {
            throw ImageError(.unsupported("BMP"))
        } else if holds([0x49, 0x49, 0x2A, 0]) || holds([0x4D, 0x4D, 0, 0x2A]) {
            throw ImageError(.unsupported("TIFF"))
        } else if holds("ftypavif", at: 4) || holds("ftypavis", at: 4) {
            throw ImageError(.unsupported("AVIF"))
        } else if holds("ftyphei", at: 4) || holds("ftypmif1", at: 4) {
            throw ImageError(.unsupported("HEIF"))
        } else if holds([0, 0, 0, 12, 0x6A, 0x50, 0x20, 0x20]) || holds([0xFF, 0x4F, 0xFF, 0x51]) {
            throw ImageError(.unsupported("JPEG 2000"))
        } else if holds("8BPS") {
            throw ImageError(.unsupported("Photoshop"))
        } else {
            throw ImageError(.notAnImage)
        }
    }
}

extension ImageFormat: CustomStringConvertible {
    public var description: String { rawValue }
}
