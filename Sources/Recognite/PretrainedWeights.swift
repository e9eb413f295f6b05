import Layers
import ModelZoo

/// Where a model's first weights come from.
public enum PretrainedWeights: Sendable, Hashable, ExpressibleByStringLiteral {
    /// A checkpoint: `.pth` or `.pt` as `torch.save` writes them, or `.safetensors`.
    case file(String)

    public init(stringLiteral path: String) { self = .file(path) }

    /// Reads a checkpoint.
    func checkpoint() throws -> Checkpoint {
        switch self {
        case .file(let path): try Checkpoint(contentsOf: path)
        }
    }

    /// What messages call the weights.
    var name: String {
        switch self {
        case .file(let path): path
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
