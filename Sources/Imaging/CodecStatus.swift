import CImaging

extension ci_status {
    /// Throws what a decoder answered, unless it is `CI_OK`.
    func check(_ format: ImageFormat, _ message: ci_message) throws(ImageError) {
        switch self {
        case CI_OK: return
        case CI_TRUNCATED: throw ImageError(.truncated(format))
        case CI_UNSUPPORTED: throw ImageError(.unsupported(message.string))
        default: throw ImageError(.corrupt(format, message.string))
        }
    }
}

extension ci_message {
    /// The text, without line breaks that a corrupt file may have smuggled in.
    var string: String {
        let characters = withUnsafeBytes(of: text) { bytes in
            bytes.prefix { $0 != 0 }.map { (0x20..<0x7F).contains($0) ? Character(Unicode.Scalar($0)) : "?" }
        }
        return characters.isEmpty ? "undecodable picture" : String(characters)
    }
}
