import Imaging
import Tensors

/// What a picture goes through on its way into training. What is random in it is drawn from the source that it is given.
public struct TrainingTransform: Hashable, Sendable, Codable {
    /// How a square of a picture of any size is taken.
    public enum Crop: Hashable, Sendable, Codable {
        /// The shorter side is resized to the size, then a random square is cropped: the reference's basic script.
        case square
        /// A random part of the area, with a random ratio of width over height, is resized: the reference's other script.
        case resized(scale: ClosedRange<Double>, ratio: ClosedRange<Double>)
    }

    /// The side of the result, in pixels.
    public var size: Int
    public var crop: Crop
    /// The probability of a horizontal flip.
    public var flip: Double
    public var affine: AffineJitter
    public var color: ColorJitter
    /// `nil`: nothing is erased.
    public var erasing: RandomErasing?
    public var normalization: Normalization

    public init(
        size: Int, crop: Crop = .square, flip: Double = 0, affine: AffineJitter = AffineJitter(),
        color: ColorJitter = ColorJitter(), erasing: RandomErasing? = nil, normalization: Normalization = .imageNet
    ) {
        precondition(size > 0 && (0...1).contains(flip), "TrainingTransform: size \(size), flip \(flip)")
        self.size = size
        self.crop = crop
        self.flip = flip
        self.affine = affine
        self.color = color
        self.erasing = erasing
        self.normalization = normalization
    }

    /// The network's input for a picture, `[size, size, 3]`.
    ///
    /// Resizing is Pillow's, to 8 bits; affine maps work on the resized square.
    public func callAsFunction(_ picture: RGBImage, using source: inout RandomSource) -> Tensor {
        var square = cropped(picture, using: &source)
        if !affine.isIdentity {
            square = affine.map(height: size, width: size, using: &source)(square, fill: affine.fill)
        }
        if flip > 0, source.uniform() < flip { square = square.oriented(by: .mirrored) }
        guard !color.isIdentity || erasing != nil else { return Tensor(square, normalization: normalization) }
        var image = Tensor(square)
        if !color.isIdentity { image = color(image, using: &source) }
        image = normalization(image)
        return erasing.map { $0(image, using: &source) } ?? image
    }

    private func cropped(_ picture: RGBImage, using source: inout RandomSource) -> RGBImage {
        switch crop {
        case .square:
            // Only the crop is resized: a long picture may be thousands of times as large.
            let whole = ResizeTarget.shorterEdge(size).size(forHeight: picture.height, width: picture.width)
            let box = CropBox(randomIn: whole, height: size, width: size, using: &source)
            return picture.resized(to: whole, window: box)
        case .resized(let scale, let ratio):
            let box = CropBox(
                randomIn: (picture.height, picture.width), scale: scale, ratio: ratio, using: &source)
            return picture.cropped(to: box).resized(to: .exact(height: size, width: size))
        }
    }
}

/// What a picture goes through on its way into evaluation, as the reference's scripts have it: the shorter side is resized
/// to the size on the float tensor, and the middle square is cropped; or three squares along the longer side, whose
/// embeddings are averaged.
public struct EvaluationTransform: Hashable, Sendable, Codable {
    /// The side of the result, in pixels.
    public var size: Int
    /// Crops of one picture: 1 or 3.
    public var isThreeCrop: Bool
    public var normalization: Normalization

    public init(size: Int, threeCrop: Bool = false, normalization: Normalization = .imageNet) {
        precondition(size > 0, "EvaluationTransform: size \(size)")
        self.size = size
        self.isThreeCrop = threeCrop
        self.normalization = normalization
    }

    /// The network's inputs for one picture, `[1, size, size, 3]` or `[3, size, size, 3]`.
    public func callAsFunction(_ picture: RGBImage) -> Tensor {
        // Only the crops are resized: a long picture may be thousands of times as large.
        let whole = ResizeTarget.shorterEdge(size).size(forHeight: picture.height, width: picture.width)
        let boxes =
            isThreeCrop
            ? CropBox.threeCrops(height: whole.height, width: whole.width)
            : [CropBox(centeredIn: whole, height: size, width: size)]
        let image = Tensor(picture)
        let crops = boxes.map { image.resizedImage(to: whole, window: $0).reshaped([1, size, size, 3]) }
        return normalization(.concatenated(crops, axis: 0))
    }
}
