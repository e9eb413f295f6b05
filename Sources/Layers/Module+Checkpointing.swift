import Tensors

extension Module {
    /// Sets ``checkpointsActivations`` of the blocks below this module: of the elements of its outermost `Sequential`s that
    /// have parts themselves, like ResNet's `layer1.0` or a Vision Transformer's layers.
    public func checkpointBlocks(_ checkpoints: Bool = true) {
        for child in namedChildren.map(\.module) {
            if self is Sequential, !child.namedChildren.isEmpty {
                child.checkpointsActivations = checkpoints
            } else {
                child.checkpointBlocks(checkpoints)
            }
        }
    }

    /// ``forward(_:)``, by way of a checkpoint where ``checkpointsActivations`` asks for one.
    func checkpointedForward(_ x: Tensor) -> Tensor {
        guard checkpointsActivations, isTraining, GradientMode.isRecording else { return forward(x) }
        let random = RandomStream.current.state
        return x.checkpointed {
            self.forward($0)
        } recomputing: { again in
            let stream = RandomStream(seed: 0)
            stream.state = random
            RandomStream.$current.withValue(stream) { again() }
        }
    }
}
