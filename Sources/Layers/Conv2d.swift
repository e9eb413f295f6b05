import Tensors

/// Two-dimensional convolution: `[N, H, W, C]` to `[N, OH, OW, O]`, as `torch.nn.Conv2d` with zero padding.
public final class Conv2d: Module {
    public let inChannels: Int
    public let outChannels: Int
    public let kernelSize: IntPair
    public let stride: IntPair
    public let padding: IntPair
    public let dilation: IntPair
    public let groups: Int
    /// `[O, kH, kW, C / groups]` in memory, `[O, C / groups, kH, kW]` in a state dict.
    public let weight: Parameter
    /// `[O]`.
    public let bias: Parameter?

    /// - Precondition: `groups` divides both numbers of channels.
    public init(
        _ inChannels: Int, _ outChannels: Int, kernelSize: IntPair, stride: IntPair = 1, padding: IntPair = 0,
        dilation: IntPair = 1, groups: Int = 1, bias: Bool = true
    ) {
        precondition(
            inChannels > 0 && outChannels > 0 && groups > 0 && inChannels % groups == 0 && outChannels % groups == 0,
            "Conv2d: \(inChannels) to \(outChannels) channels in \(groups) groups")
        self.inChannels = inChannels
        self.outChannels = outChannels
        self.kernelSize = kernelSize
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        weight = Parameter(
            shape: [outChannels, kernelSize.height, kernelSize.width, inChannels / groups], layout: .convolution,
            initializer: .kaimingUniform(.in))
        let bound = 1 / Float(kernelSize.height * kernelSize.width * inChannels / groups).squareRoot()
        self.bias = bias ? Parameter(shape: [outChannels], initializer: .uniform(low: -bound, high: bound)) : nil
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        x.conv2d(
            weight.value, bias: bias?.value,
            Conv2dGeometry(
                kernel: kernelSize.tuple, stride: stride.tuple, padding: padding.tuple, dilation: dilation.tuple,
                groups: groups))
    }

    public override var hyperparameterDescription: String {
        var parts = ["\(inChannels)", "\(outChannels)", "kernel_size=\(kernelSize)", "stride=\(stride)"]
        if padding != 0 { parts.append("padding=\(padding)") }
        if dilation != 1 { parts.append("dilation=\(dilation)") }
        if groups != 1 { parts.append("groups=\(groups)") }
        if bias == nil { parts.append("bias=False") }
        return parts.joined(separator: ", ")
    }
}
