import CKernels

// MARK: - Batch norm

/// The statistics of one batch, for the running ones.
public struct BatchStatistics: Sendable {
    /// Mean of each channel: `[C]`.
    public let mean: Tensor
    /// Unbiased variance of each channel: `[C]`.
    public let variance: Tensor
}

/// Batch norm over every axis but the last, with the batch's own statistics, and an activation behind it. Inputs: x,
/// weight, bias.
package struct BatchNormTrainingOperation: Operation {
    package let eps: Float
    let activation: Activation?
    /// Gets the batch's statistics.
    package let observe: @Sendable (BatchStatistics) -> Void
    let tape: BatchNormTape?

    package init(eps: Float, observe: @escaping @Sendable (BatchStatistics) -> Void) {
        self.init(eps: eps, activation: nil, observe: observe, tape: nil)
    }

    init(
        eps: Float, activation: Activation?, observe: @escaping @Sendable (BatchStatistics) -> Void,
        tape: BatchNormTape?
    ) {
        (self.eps, self.activation, self.observe, self.tape) = (eps, activation, observe, tape)
    }

    package var name: String { "batch_norm" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        let (x, weight) = (inputs[0], inputs[1])
        precondition(
            x.count >= 2 && weight == [x.last!], "batch_norm: an input of shape \(x) for \(weight) channels")
        precondition(
            x.dropLast().reduce(1, *) > 1,
            "batch_norm: training needs more than one value per channel, the input's shape is \(x): "
                + "drop or merge a last batch of one sample")
        return x
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, weight, bias) = (inputs[0], inputs[1], inputs[2])
        let pass = BatchNormTraining(x, weight, bias, eps: eps)
        if !GradientMode.isRecomputing { observe(pass.statistics) }
        let output = x.channelAffine(scale: pass.scale, shift: pass.shift, activation: activation)
        guard needs.contains(true) else { return (output, nil) }
        tape?.pass = pass
        return (output, { [activation] in pass.gradients($0, through: activation, needs: needs) })
    }
}

/// What the forward pass of a batch norm leaves for the way back.
final class BatchNormTraining: Sendable {
    private let x: Tensor
    private let mean: Tensor
    /// `1 / √(variance + eps)`.
    private let inverse: [Double]
    let statistics: BatchStatistics
    /// The output is `scale[c] x + shift[c]`.
    let scale: Tensor
    let shift: Tensor
    private let rows: Int

    init(_ x: Tensor, _ weight: Tensor, _ bias: Tensor, eps: Float) {
        let channels = weight.count
        let rows = x.count / channels
        (self.x, self.rows) = (x, rows)
        // One pass over the memory: sums and squares around the mean of the first rows.
        let sample = min(rows, 64)
        var first = [Double](repeating: 0, count: channels)
        ck_sum_columns_f32(x.pointer, Int64(sample), Int64(channels), &first)
        let near = first.map { Float($0 / Double(sample)) }
        let sums = columnSums(rows: rows, columns: channels, lanes: 2) { begin, count, sums in
            ck_shifted_moments_f32(
                x.pointer + begin * channels, near, Int64(count), Int64(channels), sums, sums + channels)
        }
        let means = (0..<channels).map { Double(near[$0]) + sums[$0] / Double(rows) }
        let squares = (0..<channels).map { max(0, sums[channels + $0] - sums[$0] * sums[$0] / Double(rows)) }
        mean = Tensor(means.map { Float($0) }, shape: [channels])
        statistics = BatchStatistics(
            mean: mean, variance: Tensor(squares.map { Float($0 / Double(rows - 1)) }, shape: [channels]))
        let inverse = squares.map { 1 / ($0 / Double(rows) + Double(eps)).squareRoot() }
        self.inverse = inverse
        scale = Tensor((0..<channels).map { Float(inverse[$0] * Double(weight.pointer[$0])) }, shape: [channels])
        shift = Tensor(
            (0..<channels).map {
                Float(Double(bias.pointer[$0]) - means[$0] * inverse[$0] * Double(weight.pointer[$0]))
            }, shape: [channels])
    }

    /// The gradients of x, weight and bias from that of the output or, with an activation, of the activation's output:
    /// the activation's input is computed again, so that nobody keeps it.
    func gradients(_ gradient: Tensor, through activation: Activation?, needs: [Bool]) -> [Tensor?] {
        let channels = scale.count
        let task = ck_batch_norm_gradient(
            x: x.pointer, dy: gradient.pointer, activation: activation?.kernel ?? CK_IDENTITY, scale: scale.pointer,
            shift: shift.pointer)
        let sums = columnSums(rows: rows, columns: channels, lanes: 2) { begin, count, sums in
            var part = task.from(row: begin, channels)
            ck_batch_norm_backward_sums_f32(
                &part, mean.pointer, Int64(count), Int64(channels), sums, sums + channels)
        }
        // dx = w inv (dz - mean(dz) - (x - mean) inv² mean(dz (x - mean)))
        var (a, b, d) = ([Float](), [Float](), [Float]())
        for c in 0..<channels {
            let scale = Double(scale.pointer[c])
            let slope = -scale * inverse[c] * inverse[c] * sums[channels + c] / Double(rows)
            a.append(Float(scale))
            b.append(Float(slope))
            d.append(Float(-scale * sums[c] / Double(rows) - slope * Double(mean.pointer[c])))
        }
        var toX: Tensor?
        if needs[0] {
            let result = Tensor(uninitialized: x.shape)
            parallelFor(rows, grain: rowGrain(channels)) { begin, end in
                var part = task.from(row: begin, channels)
                ck_batch_norm_backward_f32(
                    &part, a, b, d, Int64(end - begin), Int64(channels), result.mutablePointer + begin * channels)
            }
            toX = result
        }
        let toWeight = Tensor((0..<channels).map { Float(sums[channels + $0] * inverse[$0]) }, shape: [channels])
        let toBias = Tensor((0..<channels).map { Float(sums[$0]) }, shape: [channels])
        return [toX, needs[1] ? toWeight : nil, needs[2] ? toBias : nil]
    }
}

extension ck_batch_norm_gradient {
    fileprivate func from(row: Int, _ channels: Int) -> ck_batch_norm_gradient {
        var part = self
        part.x += row * channels
        part.dy += row * channels
        return part
    }
}

/// Where ``BatchNormTrainingOperation`` leaves its pass for an activation that follows.
final class BatchNormTape: @unchecked Sendable {
    var pass: BatchNormTraining?
}

/// Batch norm with fixed statistics. Inputs: x, weight, bias, running mean, running variance.
package struct BatchNormInferenceOperation: Operation {
    package let eps: Float

    package var name: String { "batch_norm" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(
            inputs[0].count >= 2 && inputs[1] == [inputs[0].last!],
            "batch_norm: an input of shape \(inputs[0]) for \(inputs[1]) channels")
        return inputs[0]
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, weight, bias, mean, variance) = (inputs[0], inputs[1], inputs[2], inputs[3], inputs[4])
        let channels = weight.count
        let inverse = variance.scalars.map { 1 / ($0 + eps).squareRoot() }
        let scale = Tensor(zip(inverse, weight.scalars).map { $0 * $1 }, shape: [channels])
        let shift = Tensor(
            (0..<channels).map { bias.pointer[$0] - mean.pointer[$0] * scale.pointer[$0] }, shape: [channels])
        let output = x.channelAffine(scale: scale, shift: shift)
        guard needs.contains(true) else { return (output, nil) }
        return (
            output,
            { gradient in
                let centered = x - mean
                return [
                    needs[0] ? gradient * scale : nil,
                    needs[1] ? (gradient * centered).summed(to: [channels]) * Tensor(inverse, shape: [channels]) : nil,
                    needs[2] ? gradient.summed(to: [channels]) : nil, nil, nil,
                ]
            }
        )
    }
}

extension Tensor {
    /// `scale[c] x + shift[c]` over the last axis, and its activation.
    func channelAffine(scale: Tensor, shift: Tensor, activation: Activation? = nil) -> Tensor {
        let output = Tensor(uninitialized: shape)
        let channels = scale.count
        parallelFor(count / channels, grain: rowGrain(channels)) { begin, end in
            ck_channel_affine_f32(
                pointer + begin * channels, scale.pointer, shift.pointer, activation?.kernel ?? CK_IDENTITY,
                Int64(end - begin), Int64(channels), output.mutablePointer + begin * channels)
        }
        return output
    }

    /// Batch norm with the batch's own statistics over every axis but the last, `[..., C]`, as in training.
    ///
    /// - Parameters:
    ///   - activation: follows; `nil` for none.
    ///   - observe: gets the batch's mean and unbiased variance.
    public func batchNorm(
        weight: Tensor, bias: Tensor, eps: Float, activation: Activation? = nil,
        observe: @escaping @Sendable (BatchStatistics) -> Void
    ) -> Tensor {
        if let activation {
            guard activation.isCheapTwice else {
                return batchNorm(weight: weight, bias: bias, eps: eps, observe: observe).activated(activation)
            }
            return apply(
                BatchNormTrainingOperation(eps: eps, activation: activation, observe: observe, tape: nil), self, weight,
                bias)
        }
        let tape = BatchNormTape()
        let operation = BatchNormTrainingOperation(eps: eps, activation: nil, observe: observe, tape: tape)
        let output = apply(operation, self, weight, bias)
        if let node = output.node, let pass = tape.pass {
            let needs = node.inputs.map { $0 != nil }
            node.backwardThrough = { pass.gradients($1, through: $0, needs: needs) }
        }
        return output
    }

    /// Batch norm with the given statistics, as in inference.
    public func batchNorm(weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: Float) -> Tensor {
        apply(BatchNormInferenceOperation(eps: eps), self, weight, bias, mean, variance)
    }
}

// MARK: - Layer norm

/// Layer norm over the last axis. Inputs: x, weight, bias.
package struct LayerNormOperation: Operation {
    package let eps: Float

    package var name: String { "layer_norm" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        precondition(
            inputs[1] == [inputs[0].last ?? 0] && inputs[2] == inputs[1],
            "layer_norm: an input of shape \(inputs[0]) for \(inputs[1]) features")
        return inputs[0]
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, weight, bias) = (inputs[0], inputs[1], inputs[2])
        let channels = weight.count
        let rows = x.count / channels
        let output = Tensor(uninitialized: x.shape)
        let statistics = needs.contains(true) ? Tensor(uninitialized: [2, rows]) : nil
        parallelFor(rows, grain: rowGrain(channels)) { begin, end in
            let mean = statistics.map { $0.mutablePointer + begin }
            ck_layer_norm_forward_f32(
                x.pointer + begin * channels, weight.pointer, bias.pointer, eps, Int64(end - begin), Int64(channels),
                output.mutablePointer + begin * channels, mean, mean.map { $0 + rows })
        }
        guard let statistics else { return (output, nil) }
        return (
            output,
            { gradient in
                let result = Tensor(uninitialized: x.shape)
                let sums = columnSums(rows: rows, columns: channels, lanes: 2) { begin, count, sums in
                    ck_layer_norm_backward_f32(
                        x.pointer + begin * channels, weight.pointer, statistics.pointer + begin,
                        statistics.pointer + rows + begin, gradient.pointer + begin * channels, Int64(count),
                        Int64(channels), result.mutablePointer + begin * channels, sums, sums + channels)
                }
                return [
                    needs[0] ? result : nil,
                    needs[1] ? Tensor(sums[..<channels].map { Float($0) }, shape: [channels]) : nil,
                    needs[2] ? Tensor(sums[channels...].map { Float($0) }, shape: [channels]) : nil,
                ]
            }
        )
    }
}

extension Tensor {
    /// Layer norm over the last axis, `[..., C]`.
    public func layerNorm(weight: Tensor, bias: Tensor, eps: Float) -> Tensor {
        apply(LayerNormOperation(eps: eps), self, weight, bias)
    }
}
