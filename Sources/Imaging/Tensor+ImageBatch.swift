import Tensors

extension Tensor {
    /// A batch of images resized to one size, each as ``resizedImage(to:interpolation:)`` does: `[N, H, W, C]` to
    /// `[N, height, width, C]`.
    ///
    /// No gradient flows through it.
    public func resizedImages(height: Int, width: Int, interpolation: Interpolation = .bilinear) -> Tensor {
        precondition(rank == 4, "resizedImages: expected images [N, H, W, C], got shape \(shape)")
        if (shape[1], shape[2]) == (height, width) || shape[0] == 0 { return self }
        let images = (0..<shape[0]).map { index in
            sliced(axis: 0, index..<index + 1).reshaped(Array(shape.dropFirst()))
                .resizedImage(to: .exact(height: height, width: width), interpolation: interpolation)
                .reshaped([1, height, width, shape[3]])
        }
        return .concatenated(images, axis: 0)
    }

    /// A batch of images mirrored left to right, `[N, H, W, C]`.
    ///
    /// No gradient flows through it.
    public func mirroredImages() -> Tensor {
        precondition(rank == 4, "mirroredImages: expected images [N, H, W, C], got shape \(shape)")
        let (width, channels) = (shape[2], shape[3])
        return Tensor(shape: shape) { target in
            withUnsafeScalars { source in
                for row in 0..<shape[0] * shape[1] {
                    for x in 0..<width {
                        let (from, to) = ((row * width + x) * channels, (row * width + width - 1 - x) * channels)
                        for channel in 0..<channels { target[to + channel] = source[from + channel] }
                    }
                }
            }
        }
    }
}
