import Tensors

extension Tensor {
    /// The elements of an image `[H, W, C]` that the box covers; zero where it reaches beyond.
    ///
    /// No gradient flows through it, nor through the other crops.
    public func croppedImage(to box: CropBox) -> Tensor {
        precondition(rank == 3, "croppedImage: expected an image [H, W, C], got shape \(shape)")
        return Tensor(shape: [box.height, box.width, shape[2]]) { target in
            withUnsafeScalars {
                box.copy(from: $0, height: shape[0], width: shape[1], channels: shape[2], zero: 0, to: target)
            }
        }
    }

    /// The middle of an image `[H, W, C]`, with zeros around it where it is smaller: torchvision's `center_crop`.
    public func centerCroppedImage(height: Int, width: Int) -> Tensor {
        precondition(rank == 3, "centerCroppedImage: expected an image [H, W, C], got shape \(shape)")
        return croppedImage(to: CropBox(centeredIn: (shape[0], shape[1]), height: height, width: width))
    }

    /// The reference's `three_crop` of an image `[H, W, C]`: `[3, S, S, C]` with S the shorter edge, the crops at the
    /// start, the centre and the end of the longer edge.
    public func threeCroppedImage() -> Tensor {
        precondition(rank == 3, "threeCroppedImage: expected an image [H, W, C], got shape \(shape)")
        let (height, width, channels) = (shape[0], shape[1], shape[2])
        let side = min(height, width)
        let count = side * side * channels
        return Tensor(shape: [3, side, side, channels]) { target in
            withUnsafeScalars { source in
                for (i, box) in CropBox.threeCrops(height: height, width: width).enumerated() {
                    box.copy(
                        from: source, height: height, width: width, channels: channels, zero: 0,
                        to: UnsafeMutableBufferPointer(rebasing: target[i * count..<(i + 1) * count]))
                }
            }
        }
    }
}
