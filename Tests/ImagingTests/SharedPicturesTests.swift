import Foundation
import Imaging
import Tensors
import Testing

/// The photographs that may not be shipped: only where `RECOGNITE_SHARED` names the folder with `images/` and
/// `reference/`.
@Suite(.enabled(if: SharedPictures.folder != nil)) struct SharedPicturesTests {
    @Test func equalTheReference() throws {
        let folder = try #require(SharedPictures.folder)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let rows = try decoder.decode(
            [SharedPictures.Row].self,
            from: Data(contentsOf: folder.appending(path: "reference/golden/tasks/pictures.json")))
        #expect(!rows.isEmpty)
        for row in rows {
            let path = folder.appending(path: "images/\(row.file)").path(percentEncoded: false)
            let image = try RGBImage(contentsOf: path)
            #expect([image.width, image.height] == row.size)
            if !row.file.hasSuffix(".webp") { #expect(image.sha256Digits == row.rgbSha256, "\(row.file)") }
            let bicubic = ClassificationPreset(cropSize: 224, interpolation: .bicubic)
            for (name, tensor, probe) in [
                ("preset_224", ClassificationPreset(cropSize: 224)(image), row.preset224),
                ("preset_232", ClassificationPreset(cropSize: 224, resizeSize: 232)(image), row.preset232Bilinear),
                ("bicubic", bicubic(image), row.presetBicubic),
                ("tensor", TensorPreset(cropSize: 160, resize: .shorterEdge(160))(image), row.tensorResize160),
                ("three_crop", Tensor(image).threeCroppedImage(), row.threeCrop),
            ] {
                let difference = probe.worstDifference(from: tensor)
                #expect(difference <= 1e-6, "\(row.file) \(name)")
            }
        }
    }
}

enum SharedPictures {
    static let folder = ProcessInfo.processInfo.environment["RECOGNITE_SHARED"].map { URL(filePath: $0) }

    /// A tensor `[…, C, H, W]`, with indices that count its C order.
    struct Probe: Decodable {
        var shape: [Int]
        var mean: Double
        var index: [Int]
        var value: [Double]

        /// The greatest absolute difference to a tensor `[…, H, W, C]`, infinite when the shapes do not fit.
        func worstDifference(from tensor: Tensor) -> Double {
            let (c, h, w) = (shape[shape.count - 3], shape[shape.count - 2], shape[shape.count - 1])
            guard tensor.shape == shape.dropLast(3) + [h, w, c] else { return .infinity }
            let scalars = tensor.scalars
            let mean = scalars.reduce(0) { $0 + Double($1) } / Double(scalars.count)
            return zip(index, value).reduce(abs(mean - self.mean)) { worst, probe in
                let (i, value) = probe
                let (n, channel, pixel) = (i / (c * h * w), i / (h * w) % c, i % (h * w))
                return max(worst, abs(Double(scalars[(n * h * w + pixel) * c + channel]) - value))
            }
        }
    }

    struct Row: Decodable {
        var file: String
        var size: [Int]
        var rgbSha256: String
        var preset224: Probe
        var preset232Bilinear: Probe
        var presetBicubic: Probe
        var tensorResize160: Probe
        var threeCrop: Probe
    }
}
