import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Sets a random rectangle of an image to zero: torchvision's `RandomErasing` (Zhong et al., arXiv 1708.04896).
public struct RandomErasing: Hashable, Sendable, Codable {
    public var probability: Double
    /// Bounds of the rectangle's area as a part of the image's, and of its height over its width.
    public var scale: ClosedRange<Double>
    public var ratio: ClosedRange<Double>

    public init(
        probability: Double = 0.5, scale: ClosedRange<Double> = 0.02...0.33, ratio: ClosedRange<Double> = 0.3...3.3
    ) {
        precondition(
            (0...1).contains(probability) && scale.lowerBound > 0 && ratio.lowerBound > 0,
            "RandomErasing: probability \(probability), scale \(scale), ratio \(ratio)")
        self.probability = probability
        self.scale = scale
        self.ratio = ratio
    }

    /// Changes an image `[H, W, C]`, usually a normalized one, with the given probability. Ten rectangles are drawn at
    /// most; if none of them is smaller than the image, it stays as it is.
    public func callAsFunction(_ image: Tensor, using source: inout RandomSource) -> Tensor {
        precondition(image.rank == 3, "RandomErasing: expected an image [H, W, C], got shape \(image.shape)")
        guard source.uniform() < probability else { return image }
        let (height, width, channels) = (image.shape[0], image.shape[1], image.shape[2])
        for _ in 0..<10 {
            let (h, w) = drawnSides(area: Double(height * width), scale: scale, ratio: ratio, using: &source)
            guard h < height, w < width else { continue }
            let top = source.index(below: height - h + 1)
            let left = source.index(below: width - w + 1)
            return Tensor(shape: image.shape) { target in
                image.withUnsafeScalars { _ = target.initialize(from: $0) }
                for row in top..<top + h {
                    let start = (row * width + left) * channels
                    target[start..<start + w * channels].update(repeating: 0)
                }
            }
        }
        return image
    }
}

/// The sides of a random rectangle, rounded: a part of the area within `scale`, and height over width within `ratio`,
/// uniform in its logarithm.
func drawnSides(
    area: Double, scale: ClosedRange<Double>, ratio: ClosedRange<Double>, using source: inout RandomSource
) -> (height: Int, width: Int) {
    let part = scale.lowerBound + source.uniform() * (scale.upperBound - scale.lowerBound)
    let (low, high) = (log(ratio.lowerBound), log(ratio.upperBound))
    let shape = exp(low + source.uniform() * (high - low))
    return (
        Int((area * part * shape).squareRoot().rounded(.toNearestOrEven)),
        Int((area * part / shape).squareRoot().rounded(.toNearestOrEven))
    )
}
