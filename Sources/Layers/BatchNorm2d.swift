import Tensors

/// Batch norm, `(x - mean) / √(var + eps) · weight + bias` per channel: `[N, H, W, C]` to the same shape, as
/// `torch.nn.BatchNorm2d` (arXiv 1502.03167).
///
/// In training mode mean and variance are the batch's own, and the running ones move toward them by `momentum`, the
/// variance by its unbiased estimate; in evaluation mode they are the running ones.
public final class BatchNorm2d: Module {
    public let channels: Int
    public let eps: Float
    /// The weight of the new statistics in the running ones.
    public var momentum: Float
    public let weight: Parameter
    public let bias: Parameter
    public let runningMean: Buffer
    public let runningVariance: Buffer
    public let batchesTracked: IntegerBuffer

    public init(_ channels: Int, eps: Float = 1e-5, momentum: Float = 0.1) {
        self.channels = channels
        self.eps = eps
        self.momentum = momentum
        weight = Parameter(shape: [channels], initializer: .ones)
        bias = Parameter(shape: [channels], initializer: .zeros)
        runningMean = Buffer(key: "running_mean", .zeros([channels]))
        runningVariance = Buffer(key: "running_var", .ones([channels]))
        batchesTracked = IntegerBuffer(key: "num_batches_tracked", [0], shape: [])
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        if isTraining { return trainingForward(x, activation: nil) }
        return x.batchNorm(
            weight: weight.value, bias: bias.value, mean: runningMean.value, variance: runningVariance.value, eps: eps)
    }

    /// With the batch's own statistics, and an activation behind the norm.
    fileprivate func trainingForward(_ x: Tensor, activation: Activation?) -> Tensor {
        let (mean, variance, counter, momentum) = (runningMean, runningVariance, batchesTracked, momentum)
        return x.batchNorm(weight: weight.value, bias: bias.value, eps: eps, activation: activation) { batch in
            mean.value = mean.value * (1 - momentum) + batch.mean * momentum
            variance.value = variance.value * (1 - momentum) + batch.variance * momentum
            counter.values = [counter.values[0] + 1]
        }
    }

    public override var hyperparameterDescription: String {
        "\(channels), eps=\(eps), momentum=\(momentum), affine=True, track_running_stats=True"
    }
}

extension Module {
    /// An activation of this module's output. Where this is a batch norm in training, both are computed in one pass over
    /// memory, unless somebody observes each module.
    public func callAsFunction(_ x: Tensor, then activation: Module) -> Tensor {
        if let norm = self as? BatchNorm2d, norm.isTraining, let activation = activation as? ActivationModule,
            ForwardObserver.current == nil
        {
            return norm.trainingForward(x, activation: activation.activation)
        }
        return activation(self(x))
    }
}
