import Layers
import Tensors

/// A family that pools its features to one value per channel in `forward`, as torchvision's does, without a module that
/// another pooling could take the place of.
public protocol FunctionalPooling: Module {
    /// What pools the features; `nil`: their mean. It is no child, so that paths and state dicts stay torchvision's.
    var gemPooling: GeMPool2d? { get set }
}

extension FunctionalPooling {
    /// The features pooled: `[N, H, W, C]` to `[N, C]`.
    func pooled(_ features: Tensor) -> Tensor {
        guard let gemPooling else { return features.globalAveragePool() }
        // Not as a module's call: a summary has rows for the modules of the tree alone.
        return gemPooling.forward(features).flattenedChannelsFirst()
    }
}
