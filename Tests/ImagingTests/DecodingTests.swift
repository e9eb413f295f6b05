import Foundation
import Imaging
import Testing

@Suite struct DecodingTests {
    @Test func sha256IsRight() {
        #expect(sha256(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    /// Byte for byte what Pillow's `convert("RGB")` gives.
    @Test(arguments: Fixtures.pictureNames)
    func decodesAsPillow(name: String) throws {
        let expected = try #require(Fixtures.expected.pictures.first { $0.file == name })
        let image = try Fixtures.image(name)
        #expect(image.width == expected.width && image.height == expected.height)
        #expect(image.sha256Digits == expected.sha256)
        #expect(try RGBImage(decoding: Fixtures.bytes(name)) == image)
    }

    /// `ImageOps.exif_transpose`, with EXIF and XMP in all formats.
    @Test(arguments: Fixtures.pictureNames)
    func appliesOrientationAsPillow(name: String) throws {
        let expected = try #require(Fixtures.expected.pictures.first { $0.file == name })
        let image = try RGBImage(contentsOf: Fixtures.path(name), applyingOrientation: true)
        #expect(image.width == expected.uprightWidth)
        #expect(image.sha256Digits == expected.uprightSHA256)
    }

    @Test func orientationsUndoEachOther() throws {
        let image = try Fixtures.image("png_rgb8.png")
        for orientation in Orientation.allCases {
            let inverse: Orientation =
                switch orientation {
                case .right: .left
                case .left: .right
                default: orientation
                }
            #expect(image.oriented(by: orientation).oriented(by: inverse) == image)
        }
        #expect(image.flippedHorizontally()[x: 0, y: 3] == image[x: image.width - 1, y: 3])
    }

    @Test func formatIsDetectedByContent() throws {
        let names: [(String, ImageFormat)] = [
            ("jpeg_420.jpg", .jpeg), ("png_gray8.png", .png), ("webp_lossy.webp", .webP),
        ]
        for (name, format) in names {
            let bytes = try Fixtures.bytes(name)
            #expect(try bytes.withUnsafeBytes { try ImageFormat(detecting: $0) } == format)
            let other = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).gif")
            try Data(bytes).write(to: other)
            defer { try? FileManager.default.removeItem(at: other) }
            #expect(try RGBImage(contentsOf: other.path(percentEncoded: false)) == Fixtures.image(name))
        }
    }

    @Test func versionsAreKnown() {
        for format in ImageFormat.allCases { #expect(DecoderLibrary.version(for: format).contains(".")) }
    }

    @Test func encodedPNGDecodesToTheSame() throws {
        for name in ["scene.png", "jpeg_1x1.jpg", "png_5x1.png", "jpeg_quality100.jpg"] {
            let image = try Fixtures.image(name)
            #expect(try RGBImage(decoding: PNGEncoder.encode(image)) == image)
        }
        let gray: [UInt8] = (0..<35).map { $0 * 7 }
        let decoded = try RGBImage(decoding: PNGEncoder.encode(gray: gray, width: 7, height: 5))
        #expect(decoded.pixels == gray.flatMap { [$0, $0, $0] })
        #expect(throws: ImageError.self) {
            try PNGEncoder.encode(gray: [UInt8](repeating: 0, count: 1_000_001), width: 1_000_001, height: 1)
        }
    }

    @Test func pixelsCanBeReadAndChanged() {
        var image = RGBImage(width: 3, height: 2, filledWith: [1, 2, 3])
        let copy = image
        image[x: 2, y: 1] = [9, 8, 7]
        #expect(image[x: 2, y: 1] == [9, 8, 7])
        #expect(copy[x: 2, y: 1] == [1, 2, 3])
        image.withUnsafeMutablePixels { $0[0] = 5 }
        #expect(image.withUnsafePixels { Array($0.prefix(6)) } == [5, 2, 3, 1, 2, 3])
    }
}
