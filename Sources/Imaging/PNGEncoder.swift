import CImaging

/// Writes PNG files of 8 bits a channel.
public enum PNGEncoder {
    /// The bytes of a PNG file of the picture.
    ///
    /// - Throws: ``ImageError/Reason/cannotEncode(_:)`` when a side exceeds 1,000,000 or the pixels half a gigabyte.
    public static func encode(_ image: RGBImage) throws(ImageError) -> [UInt8] {
        try encode(image.pixels, width: image.width, height: image.height, channels: 3)
    }

    /// The bytes of a gray PNG file of `gray`, `[height, width]`.
    ///
    /// - Precondition: `gray.count` is `height · width`.
    /// - Throws: ``ImageError/Reason/cannotEncode(_:)`` when a side exceeds 1,000,000 or the pixels half a gigabyte.
    public static func encode(gray: [UInt8], width: Int, height: Int) throws(ImageError) -> [UInt8] {
        precondition(
            gray.count == width * height, "PNGEncoder: \(gray.count) bytes do not fill \(width) x \(height) pixels")
        return try encode(gray, width: width, height: height, channels: 1)
    }

    private static func encode(
        _ pixels: [UInt8], width: Int, height: Int, channels: Int
    ) throws(ImageError) -> [UInt8] {
        let capacity = ci_png_bound(Int64(width), Int64(height), Int64(channels))
        guard capacity > 0 else { throw ImageError(.cannotEncode("a PNG of \(width) x \(height) pixels")) }
        var message = ci_message()
        var status = CI_OK
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(capacity)) { buffer, count in
            var written = capacity
            status = ci_png_encode(
                pixels, Int64(width), Int64(height), Int64(channels), buffer.baseAddress, &written, &message)
            count = status == CI_OK ? Int(written) : 0
        }
        guard status == CI_OK else { throw ImageError(.cannotEncode(message.string)) }
        return bytes
    }
}
