import Tensors

/// The maximum of each window: `[N, H, W, C]` to `[N, OH, OW, C]`, as `torch.nn.MaxPool2d`.
public final class MaxPool2d: Module {
    public let geometry: Pool2dGeometry

    public init(
        kernelSize: Int, stride: Int? = nil, padding: Int = 0, dilation: Int = 1, ceilMode: Bool = false
    ) {
        geometry = Pool2dGeometry(
            kernel: kernelSize, stride: stride, padding: padding, dilation: dilation, ceilMode: ceilMode)
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor { x.maxPool2d(geometry) }

    public override var hyperparameterDescription: String {
        "kernel_size=\(geometry.kernel), stride=\(geometry.stride), padding=\(geometry.padding), "
            + "dilation=\(geometry.dilation), ceil_mode=\(geometry.ceilMode ? "True" : "False")"
    }
}

/// The mean of each window: `[N, H, W, C]` to `[N, OH, OW, C]`, as `torch.nn.AvgPool2d`.
public final class AvgPool2d: Module {
    public let geometry: Pool2dGeometry
    /// Whether padded zeros count in the divisor.
    public let countsPadding: Bool

    public init(
        kernelSize: Int, stride: Int? = nil, padding: Int = 0, ceilMode: Bool = false, countsPadding: Bool = true
    ) {
        geometry = Pool2dGeometry(kernel: kernelSize, stride: stride, padding: padding, ceilMode: ceilMode)
        self.countsPadding = countsPadding
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor { x.avgPool2d(geometry, countsPadding: countsPadding) }

    public override var hyperparameterDescription: String {
        "kernel_size=\(geometry.kernel), stride=\(geometry.stride), padding=\(geometry.padding)"
    }
}

/// The means of windows that cover the image: `[N, H, W, C]` to `[N, height, width, C]`, as
/// `torch.nn.AdaptiveAvgPool2d`.
public final class AdaptiveAvgPool2d: Module {
    public let outputSize: IntPair

    public init(_ outputSize: IntPair) {
        self.outputSize = outputSize
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        x.adaptiveAvgPool2d(height: outputSize.height, width: outputSize.width)
    }

    public override var hyperparameterDescription: String { "output_size=\(outputSize)" }
}
