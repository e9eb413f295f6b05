import Foundation
import Recognite
import TestSupport
import Testing

/// `recognite describe`, from the outside.
@Suite struct DescribeCommandTests {
    /// Four pictures of each of two labels.
    private func drawPictures(in folder: String) throws {
        var source = RandomSource(seed: 2)
        for label in ["a", "b"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(label)", withIntermediateDirectories: true)
            for number in 0..<4 {
                var picture = RGBImage(width: 40, height: 36)
                picture.withUnsafeMutablePixels { pixels in
                    for index in pixels.indices { pixels[index] = UInt8(source.uniform() * 255) }
                }
                try Data(PNGEncoder.encode(picture)).write(to: URL(filePath: "\(folder)/\(label)/\(number).png"))
            }
        }
    }

    @Test func writesAFittedDescriptor() throws {
        try withTemporaryFolder { folder in
            try drawPictures(in: folder + "/set")
            let path = folder + "/descriptor.safetensors"
            let result = try RecogniteProcess.run(
                "describe", "--model", "resnet18", "--fit", folder + "/set", "--flip", "--scales", "0.7,1,1.4", "--gem",
                "3", "--whiten", "5", "--size", "32", "-o", path)
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.output.contains("5 features"))
            let descriptor = try EmbeddingDescriptor(contentsOf: path)
            #expect(descriptor.settings == .init(flip: true, scales: [0.7, 1, 1.4], gem: 3))
            #expect(descriptor.whitening?.inputSize == 512 && descriptor.whitening?.dimension == 5)

            let tooMany = try RecogniteProcess.run(
                "describe", "--model", "resnet18", "--fit", folder + "/set", "--whiten", "8", "--size", "32", "-o",
                path)
            #expect(tooMany.status == 1)
            #expect(tooMany.errors.contains("8 embeddings are too few for a whitening to 8 dimensions"))
        }
    }

    @Test func refusesWhatDoesNotGoTogether() throws {
        for (arguments, word) in [
            (["--gem", "9"], "--gem must be from 1 to 6"), (["--scales", "1,0"], "--scales must be positive"),
            (["--whiten", "4"], "--whiten needs --fit"), (["--fit", "x.csv"], "--fit is for --whiten"),
        ] {
            let all = ["describe", "--model", "resnet18", "-o", "d.safetensors"] + arguments
            let result = try RecogniteProcess.run(all, environment: [:])
            #expect(result.status != 0 && result.errors.contains(word), "\(arguments): \(result.errors)")
        }
    }

    @Test func namesTheModelThatHasNoPoolingToReplace() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/d.safetensors"
            let result = try RecogniteProcess.run("describe", "--model", "vit_b_32", "--gem", "3", "-o", path)
            let message = "GeM pooling cannot be put into vit_b_32: it takes its class token"
            #expect(result.status == 1 && result.errors.contains(message), "\(result.errors)")
            #expect(!FileManager.default.fileExists(atPath: path))
            let other = try RecogniteProcess.run("describe", "--model", "mobilenet_v2", "--gem", "3", "-o", path)
            #expect(other.status == 0 && other.output.contains("GeM pooling with p = 3"), "\(other.errors)")
        }
    }
}
