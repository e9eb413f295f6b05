import Layers
import Tensors

/// Convolution, batch norm and activation, named `0`, `1`, `2`; as torchvision's
/// `ops.misc.Conv2dNormActivation` with batch norm: no bias, and padding that keeps the size at stride 1.
final class Conv2dNormActivation: Sequential {
    /// - Parameters:
    ///   - padding: `nil` stands for `(kernelSize - 1) / 2 · dilation`.
    ///   - activation: `nil` leaves the activation out.
    ///   - norm: makes the norm for a number of channels.
    init(
        _ inChannels: Int, _ outChannels: Int, kernelSize: Int = 3, stride: Int = 1, padding: Int? = nil,
        groups: Int = 1, dilation: Int = 1, activation: Activation? = .relu,
        norm: (Int) -> Module = { BatchNorm2d($0) }
    ) {
        var layers = [
            Conv2d(
                inChannels, outChannels, kernelSize: IntPair(kernelSize), stride: IntPair(stride),
                padding: IntPair(padding ?? (kernelSize - 1) / 2 * dilation), dilation: IntPair(dilation),
                groups: groups, bias: false), norm(outChannels),
        ]
        if let activation { layers.append(activation.makeModule()) }
        super.init(layers)
    }
}
