import CImaging

/// PNG through libpng: all colour types and depths, interlaced or not. Of an animated PNG, the default picture.
enum PNGDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, pixelLimit: Int) throws(ImageError) -> RGBImage {
        let source = bytes.bindMemory(to: UInt8.self)
        let (width, height) = try size(bytes)
        try RGBImage.checkSize(width: width, height: height, pixelLimit: pixelLimit)
        return try RGBImage(width: width, height: height) { pixels throws(ImageError) in
            var message = ci_message()
            let status = ci_png_decode(
                source.baseAddress, Int64(source.count), pixels.baseAddress, Int64(width), Int64(height), &message)
            try status.check(.png, message)
        }
    }

    /// The size in the IHDR chunk, which must come first.
    private static func size(_ bytes: UnsafeRawBufferPointer) throws(ImageError) -> (width: Int, height: Int) {
        let reader = ByteReader(bytes)
        guard let name = reader.bytes(at: 12, count: 4), let width = reader.uint32(at: 16, .big),
            let height = reader.uint32(at: 20, .big)
        else { throw ImageError(.truncated(.png)) }
        guard name.elementsEqual("IHDR".utf8) else { throw ImageError(.corrupt(.png, "no header chunk")) }
        guard width > 0, height > 0 else { throw ImageError(.corrupt(.png, "a size of \(width) x \(height)")) }
        return (Int(width), Int(height))
    }
}
