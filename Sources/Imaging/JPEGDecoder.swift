import CImaging

/// JPEG through libjpeg: baseline, extended and progressive; gray, YCbCr, RGB, CMYK and YCCK; slow integer DCT and
/// smooth chroma upsampling, which are libjpeg's defaults and Pillow's.
enum JPEGDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer, pixelLimit: Int) throws(ImageError) -> RGBImage {
        let source = bytes.bindMemory(to: UInt8.self)
        var message = ci_message()
        var width: Int64 = 0
        var height: Int64 = 0
        let status = ci_jpeg_size(source.baseAddress, Int64(source.count), &width, &height, &message)
        try status.check(.jpeg, message)
        try RGBImage.checkSize(width: Int(width), height: Int(height), pixelLimit: pixelLimit)
        return try RGBImage(width: Int(width), height: Int(height)) { pixels throws(ImageError) in
            let status = ci_jpeg_decode(
                source.baseAddress, Int64(source.count), pixels.baseAddress, width, height, &message)
            try status.check(.jpeg, message)
        }
    }
}
