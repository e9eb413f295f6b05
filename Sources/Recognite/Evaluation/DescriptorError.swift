/// A descriptor that cannot be read, or that does not fit a model.
public enum DescriptorError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A safetensors file, or another checkpoint, of something else.
    case notADescriptor(path: String)
    /// A descriptor of a later version of this package.
    case unknownVersion(path: String, version: String)
    /// Settings that are missing, or out of range.
    case invalidSettings(path: String, reason: String)
    /// A tensor that is missing, or of a wrong shape.
    case wrongTensors(path: String, reason: String)
    /// A whitening that was fitted to embeddings of another size than the model's.
    case embeddingSize(model: String, size: Int, whitening: Int)
    /// Several scales for a model that takes images of one size alone.
    case fixedImageSize(model: String, height: Int, width: Int, scales: [Double])
    /// GeM pooling for a model without an average pooling to one value per channel that it could take the place of.
    case noAveragePool(model: String, reason: String)

    public var description: String {
        switch self {
        case .notADescriptor(let path):
            "\(path): not a descriptor, as `recognite describe` writes it"
        case .unknownVersion(let path, let version):
            "\(path): a descriptor of version \"\(version)\"; this package reads version \(EmbeddingDescriptor.version)"
        case .invalidSettings(let path, let reason): "\(path): the descriptor's settings: \(reason)"
        case .wrongTensors(let path, let reason): "\(path): the descriptor's tensors: \(reason)"
        case .embeddingSize(let model, let size, let whitening):
            "\(model) has embeddings of \(size) features; the descriptor's whitening was fitted to \(whitening)"
        case .fixedImageSize(let model, let height, let width, let scales):
            "\(model) is built for images of \(height) x \(width) pixels alone; the descriptor's scales "
                + scales.map { "\($0)" }.joined(separator: ", ") + " need others"
        case .noAveragePool(let model, let reason): "GeM pooling cannot be put into \(model): \(reason)"
        }
    }
}
