import Layers
import Tensors

/// Squeeze and excitation, `x · scale(x)` with one scale per sample and channel: `[N, H, W, C]` to the same shape, as
/// torchvision's `ops.misc.SqueezeExcitation` (arXiv 1709.01507).
final class SqueezeExcitation: Module {
    @Child var avgpool: Module
    @Child var fc1: Module
    @Child var fc2: Module
    @Child var activation: Module
    @Child var scaleActivation: Module

    /// - Parameters:
    ///   - squeezed: the channels between the two layers.
    ///   - activation: between the two layers.
    ///   - scaleActivation: makes the scales.
    init(
        _ channels: Int, squeezed: Int, activation: Activation = .relu,
        scaleActivation: Activation = .sigmoid
    ) {
        avgpool = AdaptiveAvgPool2d(1)
        fc1 = Conv2d(channels, squeezed, kernelSize: 1)
        fc2 = Conv2d(squeezed, channels, kernelSize: 1)
        self.activation = activation.makeModule()
        _scaleActivation = Child(wrappedValue: scaleActivation.makeModule(), key: "scale_activation")
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        x * scaleActivation(fc2(activation(fc1(avgpool(x)))))
    }
}
