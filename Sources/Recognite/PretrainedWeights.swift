import Layers
import ModelZoo
import Weights

/// Where a model's first weights come from.
///
/// In text, what looks like an entry's name is one (see ``WeightCatalogue/isEntryName(_:)``), all else a file.
public enum PretrainedWeights: Sendable, Hashable, ExpressibleByStringLiteral {
    /// Published weights by torchvision's name: `DEFAULT`, `IMAGENET1K_V2`, `ResNet50_Weights.IMAGENET1K_V2`. They are
    /// downloaded into PyTorch's cache if they are not there.
    case entry(String)
    /// A checkpoint: `.pth` or `.pt` as `torch.save` writes them, or `.safetensors`.
    case file(String)

    public init(_ text: String) { self = WeightCatalogue.isEntryName(text) ? .entry(text) : .file(text) }

    public init(stringLiteral text: String) { self.init(text) }

    /// A catalogue's entry.
    public static func entry(_ entry: WeightEntry) -> PretrainedWeights { .entry(entry.fullName) }

    /// The catalogue's entry for a model; `nil` for a file.
    ///
    /// - Throws: ``UnknownWeightsError``.
    public func catalogueEntry(of model: String) throws(UnknownWeightsError) -> WeightEntry? {
        switch self {
        case .entry(let name): try WeightCatalogue.entry(name, of: model)
        case .file: nil
        }
    }
}

/// Weights that do not fit a model, and whose.
public struct WeightsMismatchError: Error, CustomStringConvertible {
    public let weights: String
    public let model: String
    public let reason: StateDictError

    public var description: String { "\(weights): for \(model), \(reason)" }
}
