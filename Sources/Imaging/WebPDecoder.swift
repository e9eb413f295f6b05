import CWebP

/// WebP through libwebp: lossy and lossless, with alpha dropped. Of an animation, the first frame on its canvas.
///
/// The animation decoder is what Pillow uses for every WebP file.
enum WebPDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, pixelLimit: Int) throws(ImageError) -> RGBImage {
        let source = bytes.bindMemory(to: UInt8.self)
        var features = WebPBitstreamFeatures()
        let status = WebPGetFeatures(source.baseAddress, source.count, &features)
        guard status == VP8_STATUS_OK else {
            throw failure(bytes, status == VP8_STATUS_NOT_ENOUGH_DATA ? nil : "unreadable header")
        }
        let width = Int(features.width)
        let height = Int(features.height)
        try RGBImage.checkSize(width: width, height: height, pixelLimit: pixelLimit)

        var data = WebPData(bytes: source.baseAddress, size: source.count)
        var info = WebPAnimInfo()
        guard let decoder = WebPAnimDecoderNew(&data, nil) else { throw failure(bytes, "unreadable container") }
        defer { WebPAnimDecoderDelete(decoder) }
        var canvas: UnsafeMutablePointer<UInt8>?
        var timestamp: Int32 = 0
        guard WebPAnimDecoderGetInfo(decoder, &info) != 0, info.canvas_width == width, info.canvas_height == height,
            WebPAnimDecoderGetNext(decoder, &canvas, &timestamp) != 0, let canvas
        else { throw failure(bytes, "undecodable picture") }
        return RGBImage(width: width, height: height) { pixels in
            for i in 0..<width * height {
                for c in 0..<3 { pixels[3 * i + c] = canvas[4 * i + c] }
            }
        }
    }

    /// Truncated when the container says that it is longer than the file or nothing else is wrong.
    private static func failure(_ bytes: UnsafeRawBufferPointer, _ why: String?) -> ImageError {
        let claimed = ByteReader(bytes).uint32(at: 4, .little).map { Int($0) + 8 } ?? .max
        guard let why, claimed <= bytes.count else { return ImageError(.truncated(.webP)) }
        return ImageError(.corrupt(.webP, why))
    }
}
