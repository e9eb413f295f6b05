import Foundation
import Imaging
import Testing

@Suite struct RobustnessTests {
    /// The error that decoding `bytes` throws, or `nil`.
    private func failure(_ bytes: [UInt8], pixelLimit: Int = 1 << 20) -> ImageError? {
        do throws(ImageError) {
            _ = try RGBImage(decoding: bytes, applyingOrientation: true, pixelLimit: pixelLimit)
            return nil
        } catch {
            return error
        }
    }

    @Test func whatIsNoPictureIsRefused() throws {
        #expect(failure([]) == ImageError(.empty))
        #expect(failure(Array("hello, world".utf8)) == ImageError(.notAnImage))
        #expect(failure([0xFF]) == ImageError(.notAnImage))
        for (name, format) in [("refused.gif", "GIF"), ("refused.bmp", "BMP"), ("refused.tiff", "TIFF")] {
            #expect(try failure(Fixtures.bytes(name)) == ImageError(.unsupported(format)))
        }
    }

    @Test func errorsAreOneLineWithThePath() throws {
        let missing = #expect(throws: ImageError.self) { try RGBImage(contentsOf: "/nowhere/picture.jpg") }
        #expect(missing?.description == "/nowhere/picture.jpg: cannot be read: No such file or directory")
        let folder = #expect(throws: ImageError.self) { try RGBImage(contentsOf: "/tmp") }
        #expect(folder?.path == "/tmp")
        let gif = #expect(throws: ImageError.self) { try Fixtures.image("refused.gif") }
        #expect(gif?.description.hasSuffix("refused.gif: GIF is not supported; JPEG, PNG and WebP are") == true)
        #expect(throws: ImageError(.empty, path: "/dev/null")) { try RGBImage(contentsOf: "/dev/null") }
    }

    /// 100,000 x 100,000 would be 30 GB; a limit is the caller's to set.
    @Test func tooManyPixelsAreRefusedBeforeTheyAreAllocated() throws {
        let huge = try Fixtures.bytes("huge.png")
        let reason = ImageError.Reason.tooManyPixels(
            width: 100_000, height: 100_000, limit: RGBImage.defaultPixelLimit)
        #expect(failure(huge, pixelLimit: RGBImage.defaultPixelLimit)?.reason == reason)
        for name in ["jpeg_420.jpg", "webp_lossy.webp"] {
            let bytes = try Fixtures.bytes(name)
            #expect(failure(bytes, pixelLimit: 37 * 29) == nil)
            #expect(
                failure(bytes, pixelLimit: 37 * 29 - 1)?.reason
                    == .tooManyPixels(width: 37, height: 29, limit: 37 * 29 - 1))
        }
    }

    @Test func truncatedFilesAreRefused() throws {
        for name in Fixtures.pictureNames {
            let bytes = try Fixtures.bytes(name)
            // The end of image data, not counting what may follow it: an end marker, an end chunk, padding.
            for count in 0..<bytes.count {
                let error = failure(Array(bytes[..<count]))
                if count < bytes.count / 2 { #expect(error != nil, "\(name) cut to \(count) bytes") }
            }
            #expect(failure(bytes) == nil)
        }
        for name in ["jpeg_420.jpg", "jpeg_420_progressive.jpg", "scene.png", "webp_lossy.webp"] {
            let bytes = try Fixtures.bytes(name)
            let half = try #require(failure(Array(bytes[..<(bytes.count / 2)])))
            #expect(half.description.contains("image file is truncated"), "\(name): \(half)")
        }
        // Pillow too lets the last chunk of a PNG be missing.
        #expect(try failure(Fixtures.bytes("scene.png").dropLast(12)) == nil)
    }

    /// Whatever the bytes, decoding ends with a picture or an error.
    @Test func mutatedFilesDoNotCrash() throws {
        var random = SplitMix(state: 7)
        for name in Fixtures.pictureNames {
            let original = try Fixtures.bytes(name)
            for _ in 0..<60 {
                var bytes = original
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    // Half of the changes hit the headers.
                    let end = Bool.random(using: &random) ? min(160, bytes.count) : bytes.count
                    bytes[Int.random(in: 0..<end, using: &random)] = .random(in: 0...255, using: &random)
                }
                if Int.random(in: 0..<4, using: &random) == 0 {
                    bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
                }
                if let error = failure(bytes) { #expect(!error.description.contains("\n")) }
            }
        }
    }

    @Test func threadsDecodeAtTheSameTime() async throws {
        let expected = Fixtures.expected.pictures
        await withTaskGroup(of: Void.self) { group in
            for start in 0..<4 {
                group.addTask {
                    for i in stride(from: start, to: expected.count, by: 3) {
                        let image = try? Fixtures.image(expected[i].file)
                        #expect(image?.sha256Digits == expected[i].sha256)
                    }
                }
            }
        }
    }
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
