import Tensors

/// The other of torchvision's two ways to a network's input: `ToTensor`, `Resize(antialias=True)` on the float tensor,
/// `CenterCrop`, `Normalize`. Its numbers differ a little from those of ``ClassificationPreset``.
public struct TensorPreset: Hashable, Sendable {
    public var resize: ResizeTarget
    /// The side of the square crop.
    public var cropSize: Int
    public var interpolation: Interpolation
    public var normalization: Normalization

    public init(
        cropSize: Int, resize: ResizeTarget, interpolation: Interpolation = .bilinear,
        normalization: Normalization = .imageNet
    ) {
        precondition(cropSize > 0, "TensorPreset: crop size \(cropSize)")
        self.resize = resize
        self.cropSize = cropSize
        self.interpolation = interpolation
        self.normalization = normalization
    }

    /// The network's input for a picture, `[cropSize, cropSize, 3]`.
    public func callAsFunction(_ image: RGBImage) -> Tensor {
        let size = resize.size(forHeight: image.height, width: image.width)
        let box = CropBox(centeredIn: size, height: cropSize, width: cropSize)
        return normalization(Tensor(image).resizedImage(to: size, window: box, interpolation: interpolation))
    }
}
