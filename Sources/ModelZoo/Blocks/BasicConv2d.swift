import Layers
import Tensors

/// Convolution, batch norm and ReLU, as GoogLeNet's and Inception's `BasicConv2d` in torchvision.
final class BasicConv2d: Module {
    @Child var conv: Module
    @Child var bn: Module

    init(_ inChannels: Int, _ outChannels: Int, kernelSize: IntPair, stride: IntPair = 1, padding: IntPair = 0) {
        conv = Conv2d(inChannels, outChannels, kernelSize: kernelSize, stride: stride, padding: padding, bias: false)
        bn = BatchNorm2d(outChannels, eps: 0.001)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { bn(conv(x)).activated(.relu) }
}
