import Tensors

extension Module {
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
