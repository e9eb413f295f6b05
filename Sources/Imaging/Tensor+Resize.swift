import CImaging
import Tensors

extension Tensor {
    /// Torch's antialiased resize of a float image `[H, W, C]`:
    /// `torch.nn.functional.interpolate(mode=…, antialias=True, align_corners=False)`, and so torchvision's `Resize` on
    /// a float tensor. It differs from Pillow's: nothing is rounded to 8 bits or clipped.
    ///
    /// No gradient flows through it.
    public func resizedImage(to target: ResizeTarget, interpolation: Interpolation = .bilinear) -> Tensor {
        precondition(rank == 3, "resizedImage: expected an image [H, W, C], got shape \(shape)")
        let (height, width, channels) = (shape[0], shape[1], shape[2])
        let size = target.size(forHeight: height, width: width)
        if size == (height, width) { return self }
        let columns = ResampleTaps<Float>(
            from: width, to: size.width, range: 0..<size.width, interpolation: interpolation)
        let rows = ResampleTaps<Float>(
            from: height, to: size.height, range: 0..<size.height, interpolation: interpolation)
        let narrow = Tensor(shape: [height, size.width, channels]) { target in
            withUnsafeScalars { source in
                columns.withCTaps {
                    ci_resample_width_f32(
                        source.baseAddress!, target.baseAddress!, Int64(height), Int64(width), Int64(size.width),
                        Int64(channels), $0)
                }
            }
        }
        return Tensor(shape: [size.height, size.width, channels]) { target in
            narrow.withUnsafeScalars { source in
                rows.withCTaps {
                    ci_resample_height_f32(
                        source.baseAddress!, target.baseAddress!, Int64(size.height), Int64(size.width * channels), $0)
                }
            }
        }
    }
}
