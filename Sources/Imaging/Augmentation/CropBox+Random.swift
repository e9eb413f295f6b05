import Tensors

extension CropBox {
    /// A box of this size anywhere in a picture, which must not be smaller: torchvision's `RandomCrop`.
    public init(
        randomIn picture: (height: Int, width: Int), height: Int, width: Int, using source: inout RandomSource
    ) {
        precondition(
            picture.height >= height && picture.width >= width,
            "CropBox: \(height) x \(width) out of \(picture.height) x \(picture.width) (height x width)")
        self.init(
            top: source.index(below: picture.height - height + 1),
            left: source.index(below: picture.width - width + 1), height: height, width: width)
    }

    /// A box of random area and shape: that of torchvision's `RandomResizedCrop`. Ten are drawn at most; if none fits,
    /// it is the largest in the middle whose shape is within the bounds.
    ///
    /// - Parameters:
    ///   - scale: bounds of the area as a part of the picture's.
    ///   - ratio: bounds of the width over the height.
    public init(
        randomIn picture: (height: Int, width: Int), scale: ClosedRange<Double>, ratio: ClosedRange<Double>,
        using source: inout RandomSource
    ) {
        precondition(scale.lowerBound > 0 && ratio.lowerBound > 0, "CropBox: scale \(scale), ratio \(ratio)")
        let area = Double(picture.height * picture.width)
        for _ in 0..<10 {
            // Width over height here.
            let (w, h) = drawnSides(area: area, scale: scale, ratio: ratio, using: &source)
            if h > 0, w > 0, h <= picture.height, w <= picture.width {
                self.init(randomIn: picture, height: h, width: w, using: &source)
                return
            }
        }
        let shape = Double(picture.width) / Double(picture.height)
        var (h, w) = picture
        if shape < ratio.lowerBound {
            h = max(1, min(h, Int((Double(w) / ratio.lowerBound).rounded(.toNearestOrEven))))
        } else if shape > ratio.upperBound {
            w = max(1, min(w, Int((Double(h) * ratio.upperBound).rounded(.toNearestOrEven))))
        }
        self.init(top: (picture.height - h) / 2, left: (picture.width - w) / 2, height: h, width: w)
    }
}
