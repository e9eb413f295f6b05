import ArgumentParser
import Foundation
import Recognite

/// Pictures, folders of pictures and arrays, as a command line names them.
struct InputOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "Pictures (JPEG, PNG, WebP), folders of pictures, or .npy files of normalized float32 [N, 3, H, W].",
            valueName: "input"))
    var inputs: [String]

    @Option(
        help: ArgumentHelp(
            """
            How pictures become network input: RESIZE/CROP with an optional :bilinear or :bicubic, such as \
            256/224:bilinear or 232/224. By default that of the weights, if they are published ones, or the resize to 8/7 \
            of the model's input size that most of those have.
            """, valueName: "preset"))
    var preset: PresetArgument?

    @Flag(help: "Turn pictures upright as their EXIF orientation says.")
    var exifOrientation = false

    @Flag(help: "Stop at the first picture that cannot be read.")
    var strict = false

    @Option(help: "Pictures that are run through the network at once.")
    var batchSize = 8

    func validate() throws {
        guard batchSize > 0 else { throw ValidationError("--batch-size must be positive") }
    }

    /// One thing to embed: a picture, or an array of network inputs.
    enum Input {
        case picture(path: String)
        case array(path: String, images: Tensor)
    }

    /// The inputs in order: folders expanded, sorted by name, arrays read.
    func collect() throws -> [Input] {
        try inputs.flatMap { path -> [Input] in
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
                throw InputError(path: path, problem: "no such file or folder")
            }
            if isFolder.boolValue { return try pictures(inFolder: path) }
            guard path.lowercased().hasSuffix(".npy") else { return [.picture(path: path)] }
            return [.array(path: path, images: try images(fromArray: path))]
        }
    }

    private func pictures(inFolder folder: String) throws -> [Input] {
        let names = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        let endings = [".jpg", ".jpeg", ".png", ".webp"]
        let pictures = names.filter { name in endings.contains { name.lowercased().hasSuffix($0) } }.sorted()
        guard !pictures.isEmpty else { throw InputError(path: folder, problem: "a folder without pictures") }
        return pictures.map { .picture(path: folder.hasSuffix("/") ? folder + $0 : folder + "/" + $0) }
    }

    /// `[N, 3, H, W]` of a file as `[N, H, W, 3]`.
    private func images(fromArray path: String) throws -> Tensor {
        let array = try Tensor(npy: path)
        guard array.rank == 4, array.shape[1] == 3, array.count > 0 else {
            throw InputError(path: path, problem: "an array of shape \(array.shape), expected [N, 3, H, W]")
        }
        return array.permuted([0, 2, 3, 1])
    }
}

/// An input that cannot be used.
struct InputError: Error, CustomStringConvertible {
    let path: String
    let problem: String
    var description: String { "\(path): \(problem)" }
}

/// `RESIZE/CROP[:INTERPOLATION]`.
struct PresetArgument: ExpressibleByArgument {
    let preset: ClassificationPreset

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        let sizes = parts[0].split(separator: "/").map { Int($0) }
        guard parts.count <= 2, sizes.count == 2, let resize = sizes[0], let crop = sizes[1], resize > 0, crop > 0,
            let interpolation = Interpolation(rawValue: parts.count == 2 ? String(parts[1]) : "bilinear")
        else { return nil }
        preset = ClassificationPreset(cropSize: crop, resizeSize: resize, interpolation: interpolation)
    }
}
