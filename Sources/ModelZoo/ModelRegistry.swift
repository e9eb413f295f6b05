import Layers

/// The architectures by torchvision's names.
public enum ModelRegistry {
    /// An architecture: how to build it, and what it takes.
    public struct Entry: Sendable {
        /// torchvision's name.
        public let name: String
        /// The side of the square images that the architecture was made for, in pixels.
        public let inputSize: Int
        /// Whether the model takes images of the one size alone that it is built for.
        public let hasFixedInputSize: Bool
        private let takesSize: @Sendable (_ imageSize: Int) -> Bool
        let build: @Sendable (_ numClasses: Int, _ imageSize: Int) -> Module

        /// An architecture that takes images of any size.
        init(name: String, inputSize: Int, build: @escaping @Sendable (_ numClasses: Int) -> Module) {
            self.name = name
            self.inputSize = inputSize
            hasFixedInputSize = false
            takesSize = { $0 > 0 }
            self.build = { numClasses, _ in build(numClasses) }
        }

        /// An architecture that is built for one size of images.
        init(
            name: String, inputSize: Int, takesSize: @escaping @Sendable (_ imageSize: Int) -> Bool,
            buildForSize: @escaping @Sendable (_ numClasses: Int, _ imageSize: Int) -> Module
        ) {
            self.name = name
            self.inputSize = inputSize
            hasFixedInputSize = true
            self.takesSize = takesSize
            build = buildForSize
        }

        /// Whether the architecture can be built for square images of a size, in pixels.
        public func canBeBuilt(forImageSize imageSize: Int) -> Bool { takesSize(imageSize) }
    }

    /// All architectures in alphabetical order.
    public static let entries: [Entry] = [
        AlexNet.registry,
        ConvNeXt.registry,
        DenseNet.registry,
        EfficientNet.registry,
        GoogLeNet.registry,
        Inception3.registry,
        MaxVit.registry,
        MNASNet.registry,
        MobileNetV2.registry,
        MobileNetV3.registry,
        RegNet.registry,
        ResNet.registry,
        ShuffleNetV2.registry,
        SwinTransformer.registry,
        VGG.registry,
        VisionTransformer.registry,
    ].flatMap { $0 }.sorted { $0.name < $1.name }

    private static let byName = Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0) })

    /// The architecture of a name.
    ///
    /// - Throws: ``UnknownModelError`` that names the closest ones.
    public static func entry(_ name: String) throws(UnknownModelError) -> Entry {
        guard let entry = byName[name] else { throw UnknownModelError(name: name) }
        return entry
    }

    /// A model with torchvision's initialization.
    ///
    /// - Parameter imageSize: the side of the square images that the model will get, in pixels, for an architecture
    ///   that is built for one size; `nil` stands for its ``Entry/inputSize``. Others take any size.
    /// - Precondition: the architecture ``Entry/canBeBuilt(forImageSize:)``.
    /// - Throws: ``UnknownModelError``.
    public static func makeModel(
        _ name: String, numClasses: Int = 1000, imageSize: Int? = nil
    ) throws(UnknownModelError) -> Module {
        let entry = try entry(name)
        return entry.build(numClasses, imageSize ?? entry.inputSize)
    }
}

/// The names of all architectures, in alphabetical order.
public let supportedModels: [String] = ModelRegistry.entries.map(\.name)

/// A model name that is none of ``supportedModels``.
public struct UnknownModelError: Error, CustomStringConvertible {
    public let name: String

    /// The supported names that are most like it, the closest first.
    public var suggestions: [String] {
        let distances = supportedModels.map { ($0, Self.editDistance(Array(name.lowercased().utf8), Array($0.utf8))) }
        return distances.sorted { ($0.1, $0.0) < ($1.1, $1.0) }.prefix(3).map(\.0)
    }

    public var description: String {
        "there is no model \"\(name)\"; the closest supported ones are \(suggestions.joined(separator: ", "))"
    }

    /// Levenshtein's distance.
    private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (x == y ? 0 : 1))
                diagonal = row[j + 1]
                row[j + 1] = next
            }
        }
        return row[b.count]
    }
}
