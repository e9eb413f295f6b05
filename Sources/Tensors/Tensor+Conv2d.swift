import CKernels

/// The geometry of a two-dimensional convolution.
public struct Conv2dGeometry: Sendable, Hashable {
    public let kernelHeight: Int
    public let kernelWidth: Int
    public let strideHeight: Int
    public let strideWidth: Int
    public let padHeight: Int
    public let padWidth: Int
    public let dilationHeight: Int
    public let dilationWidth: Int
    public let groups: Int

    /// The kernel's size along the height and the width.
    public var kernel: (Int, Int) { (kernelHeight, kernelWidth) }

    /// Pairs are (along the height, along the width).
    ///
    /// - Precondition: kernel, stride, dilation and groups are positive, padding is not negative.
    public init(
        kernel: (Int, Int), stride: (Int, Int) = (1, 1), padding: (Int, Int) = (0, 0), dilation: (Int, Int) = (1, 1),
        groups: Int = 1
    ) {
        precondition(
            [kernel.0, kernel.1, stride.0, stride.1, dilation.0, dilation.1, groups].allSatisfy { $0 > 0 }
                && padding.0 >= 0 && padding.1 >= 0,
            "conv2d: kernel \(kernel), stride \(stride), padding \(padding), dilation \(dilation), groups \(groups)")
        (kernelHeight, kernelWidth) = kernel
        (strideHeight, strideWidth) = stride
        (padHeight, padWidth) = padding
        (dilationHeight, dilationWidth) = dilation
        self.groups = groups
    }

    /// The output's height and width for an input's.
    func outputSize(_ height: Int, _ width: Int) -> (Int, Int) {
        (
            (height + 2 * padHeight - dilationHeight * (kernelHeight - 1) - 1).floorDivided(by: strideHeight) + 1,
            (width + 2 * padWidth - dilationWidth * (kernelWidth - 1) - 1).floorDivided(by: strideWidth) + 1
        )
    }
}

extension Int {
    /// The quotient rounded down, for a positive divisor.
    func floorDivided(by divisor: Int) -> Int { self >= 0 ? self / divisor : -((divisor - 1 - self) / divisor) }
}

/// `[N, H, W, C]` with weights `[O, kH, kW, C / groups]` to `[N, OH, OW, O]`.
package struct Conv2dOperation: Operation {
    package let geometry: Conv2dGeometry

    package var name: String { "conv2d" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        let (x, weight, g) = (inputs[0], inputs[1], geometry)
        precondition(x.count == 4, "conv2d: an input of shape \(x), expected [N, H, W, C]")
        precondition(
            weight.count == 4 && weight[1] == g.kernelHeight && weight[2] == g.kernelWidth
                && weight[3] * g.groups == x[3] && weight[0] % g.groups == 0,
            "conv2d: input \(x) for a weight \(weight) in \(g.groups) groups: expected \(weight[3] * g.groups) channels"
        )
        let (height, width) = g.outputSize(x[1], x[2])
        precondition(
            height > 0 && width > 0,
            "conv2d: an input of \(x[1]) x \(x[2]) pixels is too small for a kernel of \(g.kernel) with its padding")
        return [x[0], height, width, weight[0]]
    }

    package func multiplyAdds(_ inputs: [[Int]], output: [Int]) -> Int {
        output.reduce(1, *) * inputs[1].dropFirst().reduce(1, *)
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, weight) = (inputs[0], inputs[1])
        let bias = inputs.count > 2 ? inputs[2] : nil
        let output = Tensor(uninitialized: outputShape)
        let shape = geometry.shape(input: x.shape, output: outputShape)
        Convolution.forward(shape, x, weight, bias, into: output)
        guard needs.contains(true) else { return (output, nil) }
        // The way back is on the same engine as the way there.
        let usesKernels = Engine.usesKernels
        return (
            output,
            { gradient in
                Engine.$usesKernels.withValue(usesKernels) {
                    [
                        needs[0] ? Convolution.inputGradient(shape, weight, gradient, inputShape: x.shape) : nil,
                        needs[1] ? Convolution.weightGradient(shape, x, gradient, weightShape: weight.shape) : nil,
                        needs.count > 2 && needs[2] ? gradient.summed(to: [weight.shape[0]]) : nil,
                    ]
                }
            }
        )
    }
}

extension Conv2dGeometry {
    package func shape(input: [Int], output: [Int]) -> ck_conv2d_shape {
        ck_conv2d_shape(
            n: Int64(input[0]), h: Int64(input[1]), w: Int64(input[2]), c: Int64(input[3]),
            oh: Int64(output[1]), ow: Int64(output[2]), o: Int64(output[3]),
            kh: Int64(kernelHeight), kw: Int64(kernelWidth),
            stride_h: Int64(strideHeight), stride_w: Int64(strideWidth),
            pad_top: Int64(padHeight), pad_left: Int64(padWidth),
            dilation_h: Int64(dilationHeight), dilation_w: Int64(dilationWidth), groups: Int64(groups))
    }
}

extension Tensor {
    /// The convolution of `[N, H, W, C]` with weights `[O, kH, kW, C / groups]` and a bias `[O]`: `[N, OH, OW, O]`.
    public func conv2d(_ weight: Tensor, bias: Tensor? = nil, _ geometry: Conv2dGeometry) -> Tensor {
        if let bias { return apply(Conv2dOperation(geometry: geometry), self, weight, bias) }
        return apply(Conv2dOperation(geometry: geometry), self, weight)
    }
}
