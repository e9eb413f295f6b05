import Tensors

/// Returns its input.
public final class Identity: Module {
    public override func forward(_ x: Tensor) -> Tensor { x }
}

/// `[N, H, W, C]` to `[N, C·H·W]`, the channels outermost as PyTorch's `Flatten(1)` leaves them.
public final class Flatten: Module {
    public override func forward(_ x: Tensor) -> Tensor { x.flattenedChannelsFirst() }

    public override var hyperparameterDescription: String { "start_dim=1, end_dim=-1" }
}

/// In training, each element is 0 with probability `p`, or else divided by `1 − p`; as `torch.nn.Dropout`.
public final class Dropout: Module {
    public var p: Double

    public init(p: Double = 0.5) {
        precondition(0...1 ~= p, "Dropout: probability \(p)")
        self.p = p
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        guard isTraining, p > 0 else { return x }
        return RandomStream.current.withSource { x.dropout(p: p, using: &$0) }
    }

    public override var hyperparameterDescription: String { "p=\(p), inplace=False" }
}

/// In training, each sample of a residual branch is 0 with probability `p`, or else divided by `1 − p`; as
/// torchvision's `StochasticDepth` in row mode (arXiv 1603.09382).
public final class StochasticDepth: Module {
    public var p: Double

    public init(p: Double) {
        precondition(0...1 ~= p, "StochasticDepth: probability \(p)")
        self.p = p
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        guard isTraining, p > 0 else { return x }
        return RandomStream.current.withSource { x.sampleDropout(p: p, using: &$0) }
    }

    public override var hyperparameterDescription: String { "p=\(p), mode=row" }
}
