import Tensors

extension Tensor {
    /// Images `[N, H, W, 3]` that were normalized with ImageNet's means and standard deviations, normalized with 0.5
    /// and 0.5 instead: what the pretrained weights of GoogLeNet and Inception v3, which come from TensorFlow, expect.
    func renormalizedToHalf() -> Tensor {
        self * Tensor([0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5], shape: [3])
            + Tensor([(0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5], shape: [3])
    }
}
