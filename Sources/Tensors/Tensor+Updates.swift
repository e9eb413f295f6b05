import CKernels

/// What optimizers do to tensors in place, over the engine's threads. A tensor whose memory others share is copied
/// first.
extension Tensor {
    /// One step of stochastic gradient descent; see `ck_sgd_step_f32`.
    ///
    /// - Parameters:
    ///   - gradient: of this tensor's shape.
    ///   - momentum: the running sum of gradients, `nil` before the first step; not used with a momentum of 0.
    package mutating func takeSGDStep(
        gradient: Tensor, momentum: inout Tensor?, learningRate: Float, momentumFactor: Float, weightDecay: Float,
        nesterov: Bool
    ) {
        var step = ck_sgd(
            learning_rate: learningRate, momentum: momentumFactor, weight_decay: weightDecay, nesterov: nesterov,
            first: false)
        var buffer: UnsafeMutablePointer<Float>?
        if momentumFactor != 0 {
            step.first = momentum == nil
            if step.first { momentum = Tensor(uninitialized: shape) }
            buffer = momentum!.uniquePointer()
        }
        let weights = uniquePointer()
        withUnsafePointer(to: step) { step in
            parallelFor(count, grain: elementwiseGrain) { begin, end in
                ck_sgd_step_f32(
                    step, gradient.pointer + begin, weights + begin, buffer.map { $0 + begin }, Int64(end - begin))
            }
        }
    }

    /// One step of Adam or AdamW; see `ck_adam_step_f32`.
    ///
    /// - Parameters:
    ///   - gradient: of this tensor's shape.
    ///   - mean: the running mean of gradients.
    ///   - square: the running mean of their squares.
    ///   - step: the number of this step for this tensor, from 1 on.
    ///   - decoupled: whether the weights shrink by themselves (AdamW) or through the gradient (Adam).
    package mutating func takeAdamStep(
        gradient: Tensor, mean: inout Tensor, square: inout Tensor, step: Int, learningRate: Double,
        betas: (Double, Double), eps: Double, weightDecay: Double, decoupled: Bool
    ) {
        let constants = ck_adam(
            step_size: Float(learningRate / (1 - power(betas.0, step))), beta2: Float(betas.1),
            new1: Float(1 - betas.0), new2: Float(1 - betas.1),
            root_scale: Float(1 / (1 - power(betas.1, step)).squareRoot()), eps: Float(eps),
            gradient_decay: decoupled ? 0 : Float(weightDecay),
            kept: decoupled ? Float(1 - learningRate * weightDecay) : 1)
        let (weights, means, squares) = (uniquePointer(), mean.uniquePointer(), square.uniquePointer())
        withUnsafePointer(to: constants) { constants in
            parallelFor(count, grain: elementwiseGrain) { begin, end in
                ck_adam_step_f32(
                    constants, gradient.pointer + begin, weights + begin, means + begin, squares + begin,
                    Int64(end - begin))
            }
        }
    }

    /// Moves each element toward another tensor's by this part of the way.
    package mutating func move(toward other: Tensor, by weight: Float) {
        precondition(other.shape == shape, "Tensor.move: from shape \(shape) toward \(other.shape)")
        let target = uniquePointer()
        parallelFor(count, grain: elementwiseGrain) { begin, end in
            ck_lerp_f32(weight, other.pointer + begin, target + begin, Int64(end - begin))
        }
    }

    /// Multiplies each element.
    package mutating func scale(by factor: Float) {
        let target = uniquePointer()
        parallelFor(count, grain: elementwiseGrain) { begin, end in
            ck_affine_f32(factor, 0, target + begin, target + begin, Int64(end - begin))
        }
    }

    /// The sum of the elements' squares, the same for any number of threads.
    package var sumOfSquares: Double {
        let block = elementwiseGrain
        var sums = [Double](repeating: 0, count: (count + block - 1) / block)
        sums.withUnsafeMutableBufferPointer { sums in
            parallelFor(sums.count, grain: 1) { begin, end in
                for index in begin..<end {
                    let start = pointer + index * block
                    sums[index] = ck_dot_f32(start, start, Int64(Swift.min(block, count - index * block)))
                }
            }
        }
        return sums.reduce(0, +)
    }
}

/// `base` to the power of a whole number, by squaring.
private func power(_ base: Double, _ exponent: Int) -> Double {
    var (result, square, rest) = (1.0, base, exponent)
    while rest > 0 {
        if rest & 1 == 1 { result *= square }
        square *= square
        rest >>= 1
    }
    return result
}
