import Layers
import Tensors

/// Convolution, norm and activation, named by their index; as torchvision's `ops.misc.Conv2dNormActivation`: padding
/// that keeps the size at stride 1.
final class Conv2dNormActivation: Sequential {
    /// - Parameters:
    ///   - padding: `nil` stands for `(kernelSize - 1) / 2 · dilation`.
    ///   - bias: whether the convolution has a bias; `nil` stands for one where there is no norm.
    ///   - activation: `nil` leaves the activation out.
    ///   - norm: makes the norm for a number of channels; `nil` leaves the norm out.
    init(
        _ inChannels: Int, _ outChannels: Int, kernelSize: Int = 3, stride: Int = 1, padding: Int? = nil,
        groups: Int = 1, dilation: Int = 1, bias: Bool? = nil, activation: Activation? = .relu,
        norm: ((Int) -> Module)? = { BatchNorm2d($0) }
    ) {
        var layers: [Module] = [
            Conv2d(
                inChannels, outChannels, kernelSize: IntPair(kernelSize), stride: IntPair(stride),
                padding: IntPair(padding ?? (kernelSize - 1) / 2 * dilation), dilation: IntPair(dilation),
                groups: groups, bias: bias ?? (norm == nil))
        ]
        if let norm { layers.append(norm(outChannels)) }
        if let activation { layers.append(activation.makeModule()) }
        super.init(layers)
    }
}
