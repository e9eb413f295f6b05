import Tensors

/// What a picture goes through on its way to a classifier: torchvision's `ImageClassification` preset on a PIL image.
///
/// The shorter edge is resized by Pillow's algorithm, which always antialiases (torchvision ignores its `antialias`
/// flag there), the middle is cropped, and the values are scaled and normalized.
public struct ClassificationPreset: Hashable, Sendable {
    /// The side of the square that the network sees.
    public var cropSize: Int
    /// The length of the shorter edge after the resize.
    public var resizeSize: Int
    public var interpolation: Interpolation
    public var normalization: Normalization

    public init(
        cropSize: Int, resizeSize: Int = 256, interpolation: Interpolation = .bilinear,
        normalization: Normalization = .imageNet
    ) {
        precondition(
            cropSize > 0 && resizeSize > 0, "ClassificationPreset: crop size \(cropSize), resize size \(resizeSize)")
        self.cropSize = cropSize
        self.resizeSize = resizeSize
        self.interpolation = interpolation
        self.normalization = normalization
    }

    /// The network's input for a picture, `[cropSize, cropSize, 3]`.
    public func callAsFunction(_ image: RGBImage) -> Tensor {
        Tensor(cropped(image), normalization: normalization)
    }

    /// The network's input for pictures of any sizes, `[N, cropSize, cropSize, 3]`.
    public func callAsFunction(_ images: [RGBImage]) -> Tensor {
        Tensor(batch: images.map(cropped), normalization: normalization)
    }

    /// The picture before it becomes numbers: resized and cropped.
    public func cropped(_ image: RGBImage) -> RGBImage {
        let size = ResizeTarget.shorterEdge(resizeSize).size(forHeight: image.height, width: image.width)
        let box = CropBox(centeredIn: size, height: cropSize, width: cropSize)
        if box.isInside(height: size.height, width: size.width) {
            return image.resized(to: size, window: box, interpolation: interpolation)
        }
        return image.resized(to: .exact(height: size.height, width: size.width), interpolation: interpolation)
            .cropped(to: box)
    }
}
