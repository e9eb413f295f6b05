/// Why a picture could not be read or written.
public struct ImageError: Error, Hashable, Sendable {
    public enum Reason: Hashable, Sendable {
        /// The file cannot be opened or read; the system's words.
        case unreadable(String)
        /// There is not one byte.
        case empty
        /// The bytes are no picture of a known kind.
        case notAnImage
        /// A picture of a kind that is not decoded here, such as "GIF".
        case unsupported(String)
        /// The bytes end before the picture does.
        case truncated(ImageFormat)
        /// The bytes contradict themselves; the decoder's words.
        case corrupt(ImageFormat, String)
        /// The header claims more pixels than the caller allows.
        case tooManyPixels(width: Int, height: Int, limit: Int)
        /// The picture cannot be encoded; the encoder's words.
        case cannotEncode(String)
    }

    public var reason: Reason
    /// The file, where there is one.
    public var path: String?

    public init(_ reason: Reason, path: String? = nil) {
        self.reason = reason
        self.path = path
    }
}

extension ImageError: CustomStringConvertible {
    /// One line: the path, if any, and the reason.
    public var description: String { path.map { "\($0): \(reason)" } ?? "\(reason)" }
}

extension ImageError.Reason: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unreadable(let why): "cannot be read: \(why)"
        case .empty: "is empty"
        case .notAnImage: "is not a JPEG, PNG or WebP picture"
        case .unsupported(let what): "\(what) is not supported; JPEG, PNG and WebP are"
        case .truncated(let format): "image file is truncated (\(format))"
        case .corrupt(let format, let why): "broken \(format) data: \(why)"
        case .tooManyPixels(let width, let height, let limit):
            "claims \(width) x \(height) pixels, more than the limit of \(limit)"
        case .cannotEncode(let why): "cannot be encoded: \(why)"
        }
    }
}
