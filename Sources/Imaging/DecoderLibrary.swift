import CImaging
import CWebP

/// The libraries that decode pictures.
public enum DecoderLibrary {
    /// The version of the library behind each format, such as `2.1.5`.
    public static func version(for format: ImageFormat) -> String {
        switch format {
        case .jpeg:
            return String(cString: ci_jpeg_version())
        case .png:
            return String(cString: ci_png_version())
        case .webP:
            let version = WebPGetDecoderVersion()
            return "\(version >> 16).\(version >> 8 & 0xFF).\(version & 0xFF)"
        }
    }
}
