import CKernels

/// The geometry of a pooling window, the same along the height and the width.
public struct Pool2dGeometry: Sendable, Hashable {
    public var kernel: Int
    public var stride: Int
    public var padding: Int
    public var dilation: Int
    /// Whether the output size is rounded up, as PyTorch's `ceil_mode`.
    public var ceilMode: Bool

    /// - Parameter stride: `nil` stands for the kernel's size.
    /// - Precondition: the padding is at most half of the kernel's size.
    public init(kernel: Int, stride: Int? = nil, padding: Int = 0, dilation: Int = 1, ceilMode: Bool = false) {
        let stride = stride ?? kernel
        precondition(
            kernel > 0 && stride > 0 && dilation > 0 && padding >= 0 && 2 * padding <= kernel,
            "pooling: kernel \(kernel), stride \(stride), padding \(padding), dilation \(dilation)")
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.ceilMode = ceilMode
    }

    func outputShape(_ input: [Int], name: String) -> [Int] {
        precondition(input.count == 4, "\(name): an input of shape \(input), expected [N, H, W, C]")
        let sizes = input[1...2].map {
            Int(
                ck_pool_output_size(
                    Int64($0), Int64(kernel), Int64(stride), Int64(padding), Int64(dilation), ceilMode ? 1 : 0))
        }
        precondition(
            sizes.allSatisfy { $0 > 0 },
            "\(name): an input of \(input[1]) x \(input[2]) pixels is too small for a window of \(kernel)")
        return [input[0], sizes[0], sizes[1], input[3]]
    }

    package func shape(input: [Int], output: [Int], countsPadding: Bool = false) -> ck_pool2d_shape {
        ck_pool2d_shape(
            n: Int64(input[0]), h: Int64(input[1]), w: Int64(input[2]), c: Int64(input[3]),
            oh: Int64(output[1]), ow: Int64(output[2]), kh: Int64(kernel), kw: Int64(kernel),
            stride_h: Int64(stride), stride_w: Int64(stride), pad_h: Int64(padding), pad_w: Int64(padding),
            dilation_h: Int64(dilation), dilation_w: Int64(dilation), count_include_pad: countsPadding ? 1 : 0,
            x_stride: 0, y_stride: 0)
    }
}

extension ck_pool2d_shape {
    /// The parallel loop over output rows.
    func forEachOutputRow(_ body: (Int64, Int64) -> Void) {
        let work = Int(ow * c * max(1, kh * kw))
        parallelFor(Int(n * oh), grain: max(1, 2 * elementwiseGrain / max(1, work))) { body(Int64($0), Int64($1)) }
    }

    /// The input's gradient, which `body(begin, end, gradient)` adds to for a range of images; it is 0 before.
    func inputGradient(_ inputShape: [Int], _ body: (Int64, Int64, UnsafeMutablePointer<Float>) -> Void) -> Tensor {
        let result = Tensor(uninitialized: inputShape)
        let image = Int(h * w * c)
        parallelFor(Int(n), grain: rowGrain(Int(oh * ow * c))) { begin, end in
            ck_fill_f32(0, result.mutablePointer + begin * image, Int64((end - begin) * image))
            body(Int64(begin), Int64(end), result.mutablePointer)
        }
        return result
    }
}

package struct MaxPool2dOperation: Operation {
    package let geometry: Pool2dGeometry

    package var name: String { "max_pool2d" }
    package func outputShape(_ inputs: [[Int]]) -> [Int] { geometry.outputShape(inputs[0], name: name) }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let x = inputs[0]
        let output = Tensor(uninitialized: outputShape)
        let shape = geometry.shape(input: x.shape, output: outputShape)
        guard needs[0] else {
            shape.forEachOutputRow { ck_max_pool_forward_f32([shape], $0, $1, x.pointer, output.mutablePointer, nil) }
            return (output, nil)
        }
        // Four-byte indices in the memory of a tensor, which is recycled as theirs is.
        let indices = TensorStorage(count: output.count)
        indices.pointer.withMemoryRebound(to: Int32.self, capacity: output.count) { argmax in
            shape.forEachOutputRow {
                ck_max_pool_forward_f32([shape], $0, $1, x.pointer, output.mutablePointer, argmax)
            }
        }
        let inputShape = x.shape
        return (
            output,
            { gradient in
                indices.pointer.withMemoryRebound(to: Int32.self, capacity: indices.count) { argmax in
                    [
                        shape.inputGradient(inputShape) {
                            ck_max_pool_backward_f32([shape], $0, $1, argmax, gradient.pointer, $2)
                        }
                    ]
                }
            }
        )
    }
}

package struct AvgPool2dOperation: Operation {
    package let geometry: Pool2dGeometry
    package let countsPadding: Bool

    package var name: String { "avg_pool2d" }
    package func outputShape(_ inputs: [[Int]]) -> [Int] { geometry.outputShape(inputs[0], name: name) }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let x = inputs[0]
        let output = Tensor(uninitialized: outputShape)
        let shape = geometry.shape(input: x.shape, output: outputShape, countsPadding: countsPadding)
        shape.forEachOutputRow { ck_avg_pool_forward_f32([shape], $0, $1, x.pointer, output.mutablePointer) }
        let inputShape = x.shape
        return (
            output,
            { gradient in
                [
                    shape.inputGradient(inputShape) {
                        ck_avg_pool_backward_f32([shape], $0, $1, gradient.pointer, $2)
                    }
                ]
            }
        )
    }
}

package struct AdaptiveAvgPool2dOperation: Operation {
    package let height: Int
    package let width: Int

    package var name: String { "adaptive_avg_pool2d" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(inputs[0].count == 4, "\(name): an input of shape \(inputs[0]), expected [N, H, W, C]")
        return [inputs[0][0], height, width, inputs[0][3]]
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let x = inputs[0]
        let output = Tensor(uninitialized: outputShape)
        let shape = Pool2dGeometry(kernel: 1).shape(input: x.shape, output: outputShape)
        let work = x.count / max(1, Int(shape.n * shape.oh))
        parallelFor(Int(shape.n * shape.oh), grain: rowGrain(work)) { begin, end in
            ck_adaptive_avg_pool_forward_f32(
                [shape], Int64(begin), Int64(end), x.pointer, output.mutablePointer)
        }
        return (output, { [gradient(of: x.shape, $0)] })
    }

    private func gradient(of inputShape: [Int], _ gradient: Tensor) -> Tensor {
        let shape = Pool2dGeometry(kernel: 1).shape(input: inputShape, output: gradient.shape)
        return shape.inputGradient(inputShape) {
            ck_adaptive_avg_pool_backward_f32([shape], $0, $1, gradient.pointer, $2)
        }
    }

    /// Adds the gradient of the input to `sum`.
    static func addGradient(_ gradient: Tensor, to sum: inout Tensor) {
        let shape = Pool2dGeometry(kernel: 1).shape(input: sum.shape, output: gradient.shape)
        let target = sum.uniquePointer()
        parallelFor(Int(shape.n), grain: rowGrain(sum.count / max(1, Int(shape.n)))) { begin, end in
            ck_adaptive_avg_pool_backward_f32([shape], Int64(begin), Int64(end), gradient.pointer, target)
        }
    }
}

extension Tensor {
    /// The maximum of each window: `[N, H, W, C]` to `[N, OH, OW, C]`; padding never wins.
    public func maxPool2d(_ geometry: Pool2dGeometry) -> Tensor { apply(MaxPool2dOperation(geometry: geometry), self) }

    /// The mean of each window: `[N, H, W, C]` to `[N, OH, OW, C]`.
    ///
    /// - Parameter countsPadding: whether padded zeros count in the divisor, as PyTorch's `count_include_pad`.
    public func avgPool2d(_ geometry: Pool2dGeometry, countsPadding: Bool = true) -> Tensor {
        precondition(geometry.dilation == 1, "avg_pool2d: dilation \(geometry.dilation); average windows have none")
        return apply(AvgPool2dOperation(geometry: geometry, countsPadding: countsPadding), self)
    }

    /// The means of `height x width` windows that cover the image: `[N, H, W, C]` to `[N, height, width, C]`.
    public func adaptiveAvgPool2d(height: Int, width: Int) -> Tensor {
        let output = apply(AdaptiveAvgPool2dOperation(height: height, width: width), self)
        output.node?.addGradient = AdaptiveAvgPool2dOperation.addGradient
        return output
    }
}
