import Imaging

/// Published weights of an architecture: where they are, how they were made, and what pictures must go through for them.
///
/// torchvision's `Weights`.
public struct WeightEntry: Sendable, Hashable {
    /// The architecture, such as `resnet50`.
    public let model: String
    /// torchvision's name of the model's weights, such as `ResNet50_Weights`.
    public let className: String
    /// The name among the model's entries, such as `IMAGENET1K_V2`.
    public let name: String
    /// Whether this is the model's `DEFAULT`.
    public let isDefault: Bool
    public let url: String
    /// How the file's SHA-256 begins, in hexadecimal digits.
    public let hashPrefix: String
    /// The number of elements of the model's parameters.
    public let parameterCount: Int
    /// The side of the smallest images that torchvision says the model takes, in pixels; for `vit_*` and `maxvit_t`, of
    /// the only ones.
    public let minimumSize: Int
    /// What pictures go through.
    public let preset: ClassificationPreset
    /// The number of classes; `nil` for weights of the features alone, whose classifier is worthless.
    public let classes: Int?
    /// The published share of ImageNet-1K's validation images whose class comes first, in percent.
    public let top1: Double?
    /// The same for the first five.
    public let top5: Double?
    /// Multiply-adds for one image, in billions.
    public let gigaMultiplyAdds: Double
    /// The file's size in units of 2^20 bytes.
    public let megabytes: Double
    /// A page that says how the weights were made.
    public let recipe: String
    /// A link to the licence, where torchvision gives one.
    public let licence: String?

    /// torchvision's full name, such as `ResNet50_Weights.IMAGENET1K_V2`.
    public var fullName: String { "\(className).\(name)" }

    /// The file's name in PyTorch's cache, such as `resnet50-11ad3fa6.pth`.
    public var fileName: String { url.split(separator: "/").last.map(String.init) ?? url }
}

extension WeightEntry: Decodable {
    private enum CodingKeys: String, CodingKey {
        case model, name, isDefault, url, hashPrefix, parameterCount, crop, resize, interpolation, mean, std, classes
        case top1, top5, gigaMultiplyAdds, megabytes, recipe, licence
        case className = "class"
        case minimumSize = "minSize"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func text(_ key: CodingKeys) throws -> String { try values.decode(String.self, forKey: key) }
        func integer(_ key: CodingKeys) throws -> Int { try values.decode(Int.self, forKey: key) }
        func colour(_ key: CodingKeys) throws -> SIMD3<Float> {
            let list = try values.decode([Float].self, forKey: key)
            guard list.count == 3 else {
                throw DecodingError.dataCorruptedError(forKey: key, in: values, debugDescription: "three are needed")
            }
            return SIMD3(list[0], list[1], list[2])
        }
        guard let interpolation = Interpolation(rawValue: try text(.interpolation)) else {
            throw DecodingError.dataCorruptedError(
                forKey: .interpolation, in: values, debugDescription: "unknown interpolation")
        }
        model = try text(.model)
        className = try text(.className)
        name = try text(.name)
        isDefault = try values.decode(Bool.self, forKey: .isDefault)
        url = try text(.url)
        hashPrefix = try text(.hashPrefix)
        parameterCount = try integer(.parameterCount)
        minimumSize = try integer(.minimumSize)
        preset = ClassificationPreset(
            cropSize: try integer(.crop), resizeSize: try integer(.resize), interpolation: interpolation,
            normalization: Normalization(mean: try colour(.mean), std: try colour(.std)))
        classes = try values.decodeIfPresent(Int.self, forKey: .classes)
        top1 = try values.decodeIfPresent(Double.self, forKey: .top1)
        top5 = try values.decodeIfPresent(Double.self, forKey: .top5)
        gigaMultiplyAdds = try values.decode(Double.self, forKey: .gigaMultiplyAdds)
        megabytes = try values.decode(Double.self, forKey: .megabytes)
        recipe = try text(.recipe)
        licence = try values.decodeIfPresent(String.self, forKey: .licence)
    }
}
