// The mixed blocks of Inception v3, arXiv 1512.00567, figures 5 to 7 and 10. As torchvision's models/inception.py,
// under its names.
import Layers
import Tensors

extension Tensor {
    /// The mean of 3 x 3 pixels around each one. Padded zeros count in the divisor, as in torchvision (in the paper's
    /// TensorFlow code they do not).
    fileprivate func smoothed() -> Tensor { avgPool2d(Pool2dGeometry(kernel: 3, stride: 1, padding: 1)) }

    /// The maximum of 3 x 3 pixels around every other one.
    fileprivate func halved() -> Tensor { maxPool2d(Pool2dGeometry(kernel: 3, stride: 2)) }
}

/// Branches with a 5 x 5 and two 3 x 3 convolutions: `[N, H, W, C]` to `[N, H, W, 224 + poolFeatures]`.
final class InceptionA: Module {
    @Child var branch1x1: Module
    @Child var branch5x5_1: Module
    @Child var branch5x5_2: Module
    @Child var branch3x3dbl_1: Module
    @Child var branch3x3dbl_2: Module
    @Child var branch3x3dbl_3: Module
    @Child var branch_pool: Module

    init(_ inChannels: Int, poolFeatures: Int) {
        branch1x1 = BasicConv2d(inChannels, 64, kernelSize: 1)
        branch5x5_1 = BasicConv2d(inChannels, 48, kernelSize: 1)
        branch5x5_2 = BasicConv2d(48, 64, kernelSize: 5, padding: 2)
        branch3x3dbl_1 = BasicConv2d(inChannels, 64, kernelSize: 1)
        branch3x3dbl_2 = BasicConv2d(64, 96, kernelSize: 3, padding: 1)
        branch3x3dbl_3 = BasicConv2d(96, 96, kernelSize: 3, padding: 1)
        branch_pool = BasicConv2d(inChannels, poolFeatures, kernelSize: 1)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        .concatenatedChannels(
            branch1x1(x),
            branch5x5_2(branch5x5_1(x)),
            branch3x3dbl_3(branch3x3dbl_2(branch3x3dbl_1(x))),
            branch_pool(x.smoothed()))
    }
}

/// Half of the size, with one and two 3 x 3 convolutions: `[N, H, W, C]` to `[N, (H - 1) / 2, (W - 1) / 2, C + 480]`.
final class InceptionB: Module {
    @Child var branch3x3: Module
    @Child var branch3x3dbl_1: Module
    @Child var branch3x3dbl_2: Module
    @Child var branch3x3dbl_3: Module

    init(_ inChannels: Int) {
        branch3x3 = BasicConv2d(inChannels, 384, kernelSize: 3, stride: 2)
        branch3x3dbl_1 = BasicConv2d(inChannels, 64, kernelSize: 1)
        branch3x3dbl_2 = BasicConv2d(64, 96, kernelSize: 3, padding: 1)
        branch3x3dbl_3 = BasicConv2d(96, 96, kernelSize: 3, stride: 2)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        .concatenatedChannels(
            branch3x3(x),
            branch3x3dbl_3(branch3x3dbl_2(branch3x3dbl_1(x))),
            x.halved())
    }
}

/// Branches with one and two 7 x 7 convolutions, each split into 1 x 7 and 7 x 1: `[N, H, W, C]` to `[N, H, W, 768]`.
final class InceptionC: Module {
    @Child var branch1x1: Module
    @Child var branch7x7_1: Module
    @Child var branch7x7_2: Module
    @Child var branch7x7_3: Module
    @Child var branch7x7dbl_1: Module
    @Child var branch7x7dbl_2: Module
    @Child var branch7x7dbl_3: Module
    @Child var branch7x7dbl_4: Module
    @Child var branch7x7dbl_5: Module
    @Child var branch_pool: Module

    init(_ inChannels: Int, channels7x7 inner: Int) {
        branch1x1 = BasicConv2d(inChannels, 192, kernelSize: 1)
        branch7x7_1 = BasicConv2d(inChannels, inner, kernelSize: 1)
        branch7x7_2 = BasicConv2d(inner, inner, kernelSize: IntPair(1, 7), padding: IntPair(0, 3))
        branch7x7_3 = BasicConv2d(inner, 192, kernelSize: IntPair(7, 1), padding: IntPair(3, 0))
        branch7x7dbl_1 = BasicConv2d(inChannels, inner, kernelSize: 1)
        branch7x7dbl_2 = BasicConv2d(inner, inner, kernelSize: IntPair(7, 1), padding: IntPair(3, 0))
        branch7x7dbl_3 = BasicConv2d(inner, inner, kernelSize: IntPair(1, 7), padding: IntPair(0, 3))
        branch7x7dbl_4 = BasicConv2d(inner, inner, kernelSize: IntPair(7, 1), padding: IntPair(3, 0))
        branch7x7dbl_5 = BasicConv2d(inner, 192, kernelSize: IntPair(1, 7), padding: IntPair(0, 3))
        branch_pool = BasicConv2d(inChannels, 192, kernelSize: 1)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let double = branch7x7dbl_3(branch7x7dbl_2(branch7x7dbl_1(x)))
        return .concatenatedChannels(
            branch1x1(x),
            branch7x7_3(branch7x7_2(branch7x7_1(x))),
            branch7x7dbl_5(branch7x7dbl_4(double)),
            branch_pool(x.smoothed()))
    }
}

/// Half of the size, with 3 x 3 and split 7 x 7 convolutions: `[N, H, W, C]` to
/// `[N, (H - 1) / 2, (W - 1) / 2, C + 512]`.
final class InceptionD: Module {
    @Child var branch3x3_1: Module
    @Child var branch3x3_2: Module
    @Child var branch7x7x3_1: Module
    @Child var branch7x7x3_2: Module
    @Child var branch7x7x3_3: Module
    @Child var branch7x7x3_4: Module

    init(_ inChannels: Int) {
        branch3x3_1 = BasicConv2d(inChannels, 192, kernelSize: 1)
        branch3x3_2 = BasicConv2d(192, 320, kernelSize: 3, stride: 2)
        branch7x7x3_1 = BasicConv2d(inChannels, 192, kernelSize: 1)
        branch7x7x3_2 = BasicConv2d(192, 192, kernelSize: IntPair(1, 7), padding: IntPair(0, 3))
        branch7x7x3_3 = BasicConv2d(192, 192, kernelSize: IntPair(7, 1), padding: IntPair(3, 0))
        branch7x7x3_4 = BasicConv2d(192, 192, kernelSize: 3, stride: 2)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        .concatenatedChannels(
            branch3x3_2(branch3x3_1(x)),
            branch7x7x3_4(branch7x7x3_3(branch7x7x3_2(branch7x7x3_1(x)))),
            x.halved())
    }
}

/// Branches that end in a 1 x 3 beside a 3 x 1 convolution: `[N, H, W, C]` to `[N, H, W, 2048]`.
final class InceptionE: Module {
    @Child var branch1x1: Module
    @Child var branch3x3_1: Module
    @Child var branch3x3_2a: Module
    @Child var branch3x3_2b: Module
    @Child var branch3x3dbl_1: Module
    @Child var branch3x3dbl_2: Module
    @Child var branch3x3dbl_3a: Module
    @Child var branch3x3dbl_3b: Module
    @Child var branch_pool: Module

    init(_ inChannels: Int) {
        branch1x1 = BasicConv2d(inChannels, 320, kernelSize: 1)
        branch3x3_1 = BasicConv2d(inChannels, 384, kernelSize: 1)
        branch3x3_2a = BasicConv2d(384, 384, kernelSize: IntPair(1, 3), padding: IntPair(0, 1))
        branch3x3_2b = BasicConv2d(384, 384, kernelSize: IntPair(3, 1), padding: IntPair(1, 0))
        branch3x3dbl_1 = BasicConv2d(inChannels, 448, kernelSize: 1)
        branch3x3dbl_2 = BasicConv2d(448, 384, kernelSize: 3, padding: 1)
        branch3x3dbl_3a = BasicConv2d(384, 384, kernelSize: IntPair(1, 3), padding: IntPair(0, 1))
        branch3x3dbl_3b = BasicConv2d(384, 384, kernelSize: IntPair(3, 1), padding: IntPair(1, 0))
        branch_pool = BasicConv2d(inChannels, 192, kernelSize: 1)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let single = branch3x3_1(x)
        let double = branch3x3dbl_2(branch3x3dbl_1(x))
        return .concatenatedChannels(
            branch1x1(x),
            branch3x3_2a(single), branch3x3_2b(single),
            branch3x3dbl_3a(double), branch3x3dbl_3b(double),
            branch_pool(x.smoothed()))
    }
}
