extension RGBImage {
    /// The most pixels that a picture may have unless told otherwise: where Pillow speaks of a decompression bomb.
    public static let defaultPixelLimit = 2 * 89_478_485

    /// Decodes the JPEG, PNG or WebP file at `path`; its content decides the format, not its name.
    ///
    /// The bytes are those of Pillow's `Image.open(path).convert("RGB")`.
    ///
    /// - Parameters:
    ///   - applyingOrientation: whether to turn and mirror the picture as its EXIF or XMP says, as
    ///     `ImageOps.exif_transpose` does.
    ///   - pixelLimit: pictures whose header claims more pixels are refused before any memory is taken for them.
    /// - Throws: ``ImageError`` with the path.
    public init(
        contentsOf path: String, applyingOrientation: Bool = false, pixelLimit: Int = defaultPixelLimit
    ) throws(ImageError) {
        do throws(ImageError) {
            let bytes = try readBytes(ofFile: path)
            try self.init(decoding: bytes, applyingOrientation: applyingOrientation, pixelLimit: pixelLimit)
        } catch {
            throw ImageError(error.reason, path: path)
        }
    }

    /// Decodes the bytes of a JPEG, PNG or WebP file.
    public init(
        decoding bytes: [UInt8], applyingOrientation: Bool = false, pixelLimit: Int = defaultPixelLimit
    ) throws(ImageError) {
        self = try bytes.withUnsafeBytes { buffer in
            Result { () throws(ImageError) in
                try RGBImage(decoding: buffer, applyingOrientation: applyingOrientation, pixelLimit: pixelLimit)
            }
        }.get()
    }

    /// Decodes the bytes of a JPEG, PNG or WebP file.
    public init(
        decoding bytes: UnsafeRawBufferPointer, applyingOrientation: Bool = false,
        pixelLimit: Int = defaultPixelLimit
    ) throws(ImageError) {
        let format = try ImageFormat(detecting: bytes)
        let image =
            switch format {
            case .jpeg: try JPEGDecoder.decode(bytes, pixelLimit: pixelLimit)
            case .png: try PNGDecoder.decode(bytes, pixelLimit: pixelLimit)
            case .webP: try WebPDecoder.decode(bytes, pixelLimit: pixelLimit)
            }
        let orientation = applyingOrientation ? Orientation(of: bytes, format: format) : .up
        self = image.oriented(by: orientation)
    }

    /// Throws when a picture of this size must not be decoded.
    static func checkSize(width: Int, height: Int, pixelLimit: Int) throws(ImageError) {
        let (count, overflows) = width.multipliedReportingOverflow(by: height)
        if overflows || count > pixelLimit {
            throw ImageError(.tooManyPixels(width: width, height: height, limit: pixelLimit))
        }
    }
}
