import Foundation
import Imaging
import Tensors

/// The files that `Tools/make_image_fixtures.py` made, and what Pillow and torchvision make of them.
enum Fixtures {
    static let expected: Expected = {
        do {
            return try JSONDecoder().decode(Expected.self, from: Data(contentsOf: url("expected.json")))
        } catch {
            fatalError("expected.json: \(error)")
        }
    }()

    /// Every file that is a picture of a supported format, by name.
    static let pictureNames = expected.pictures.map(\.file)

    static func url(_ name: String) -> URL {
        Bundle.module.resourceURL!.appending(path: "Fixtures").appending(path: name)
    }

    static func path(_ name: String) -> String { url(name).path(percentEncoded: false) }

    static func bytes(_ name: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: url(name))) }

    static func image(_ name: String) throws -> RGBImage { try RGBImage(contentsOf: path(name)) }
}

struct Expected: Decodable {
    struct Picture: Decodable {
        var file: String
        var width: Int
        var height: Int
        var sha256: String
        var uprightWidth: Int
        var uprightSHA256: String
    }

    struct Resize: Decodable {
        var file: String
        var width: Int
        var height: Int
        var interpolation: Interpolation
        var sha256: String
    }

    struct CenterCrop: Decodable {
        var file: String
        var width: Int
        var height: Int
        var sha256: String
    }

    struct Size: Decodable {
        var from: [Int]
        var edge: Int
        var maximum: Int?
        var to: [Int]
    }

    /// A tensor that was probed, and the parameters that its case has.
    struct Probed: Decodable {
        var file: String
        var width: Int?
        var height: Int?
        var cropSize: Int?
        var resizeSize: Int?
        var interpolation: Interpolation?
        var shape: [Int]
        var mean: Double
        var index: [Int]
        var value: [Float]

        /// Where a tensor differs from this one by more than `tolerance`, or `nil`.
        func difference(from tensor: Tensor, tolerance: Double) -> String? {
            if tensor.shape != shape { return "shape \(tensor.shape), expected \(shape)" }
            let scalars = tensor.scalars
            for (i, wanted) in zip(index, value) where !(abs(Double(scalars[i] - wanted)) <= tolerance) {
                return "at \(i): \(scalars[i]), expected \(wanted)"
            }
            let mean = scalars.reduce(0) { $0 + Double($1) } / Double(scalars.count)
            return abs(mean - self.mean) <= tolerance ? nil : "mean \(mean), expected \(self.mean)"
        }
    }

    var pictures: [Picture]
    var resizes: [Resize]
    var tensorResizes: [Probed]
    var centerCrops: [CenterCrop]
    var presets: [Probed]
    var threeCrops: [Probed]
    var tensorPresets: [Probed]
    var sizes: [Size]
}

extension Interpolation: Decodable {}
