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
        let (height, width) = (shape[0], shape[1])
        let size = target.size(forHeight: height, width: width)
        return resizedImage(
            to: size, window: CropBox(top: 0, left: 0, height: size.height, width: size.width),
            interpolation: interpolation)
    }

    /// The part of the resized image that `window` covers, `[window.height, window.width, C]`, with zeros where it
    /// reaches beyond; only this part is computed, and only what it is made of is read.
    package func resizedImage(
        to size: (height: Int, width: Int), window: CropBox, interpolation: Interpolation = .bilinear
    ) -> Tensor {
        let (height, width, channels) = (shape[0], shape[1], shape[2])
        if size == (height, width) {
            return window == CropBox(top: 0, left: 0, height: height, width: width) ? self : croppedImage(to: window)
        }
        let inside = window.clamped(toHeight: size.height, width: size.width)
        guard inside == window else {
            let part = resizedImage(to: size, window: inside, interpolation: interpolation)
            return part.croppedImage(
                to: CropBox(
                    top: window.top - inside.top, left: window.left - inside.left, height: window.height,
                    width: window.width))
        }
        let columns = ResampleTaps<Float>(
            from: width, to: size.width, range: window.columns, interpolation: interpolation)
        let rows = ResampleTaps<Float>(
            from: height, to: size.height, range: window.rows, interpolation: interpolation)
        let read = rows.inputRange
        let narrow = Tensor(shape: [read.count, window.width, channels]) { target in
            withUnsafeScalars { source in
                columns.withCTaps {
                    ci_resample_width_f32(
                        source.baseAddress! + read.lowerBound * width * channels, target.baseAddress!,
                        Int64(read.count), Int64(width), Int64(window.width), Int64(channels), $0)
                }
            }
        }
        return Tensor(shape: [window.height, window.width, channels]) { target in
            narrow.withUnsafeScalars { source in
                rows.counted(from: read.lowerBound).withCTaps {
                    ci_resample_height_f32(
                        source.baseAddress!, target.baseAddress!, Int64(window.height),
                        Int64(window.width * channels), $0)
                }
            }
        }
    }
}
