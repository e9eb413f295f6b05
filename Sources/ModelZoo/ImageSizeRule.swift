import Layers

/// Which sizes of images a model takes.
public enum ImageSizeRule: Sendable, Equatable {
    /// No side below this many pixels: a later layer would have nothing left to look at.
    case atLeast(Int)
    /// One size alone, in pixels.
    case exactly(height: Int, width: Int)
}

/// A family that does not take images of every size. Those that are not of this kind take any, even one pixel.
public protocol ImageSizeLimiting: Module {
    /// The rule of the model as it is now, in its present mode.
    var imageSizeRule: ImageSizeRule { get }
}

// Each smallest size was found by running torchvision's models on shapes, one size after the other; they are the
// catalogue's `min_size`, but for Swin, which torchvision's entries give as 224 or 256 and which takes a single patch.

extension AlexNet: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .atLeast(63) }
}

extension ConvNeXt: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .atLeast(32) }
}

extension DenseNet: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .atLeast(29) }
}

extension GoogLeNet: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .atLeast(15) }
}

extension Inception3: ImageSizeLimiting {
    /// The auxiliary head, which runs in training mode, takes 5 x 5 pixels of a map of 17 x 17.
    public var imageSizeRule: ImageSizeRule { .atLeast(isTraining && AuxLogits != nil ? 299 : 75) }
}

extension MaxVit: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .exactly(height: imageSize.height, width: imageSize.width) }
}

extension SwinTransformer: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .atLeast(4) }
}

extension VGG: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .atLeast(32) }
}

extension VisionTransformer: ImageSizeLimiting {
    public var imageSizeRule: ImageSizeRule { .exactly(height: imageSize, width: imageSize) }
}

/// A side of images, in pixels, that an architecture cannot be built for.
public struct ImageSizeError: Error, CustomStringConvertible {
    public let model: String
    public let imageSize: Int

    public var description: String {
        "\(model) cannot be built for images of \(imageSize) x \(imageSize) pixels: its patches or windows do not "
            + "divide them"
    }
}

extension ModelRegistry.Entry {
    /// Checks that ``canBeBuilt(forImageSize:)``.
    public func check(imageSize: Int) throws(ImageSizeError) {
        guard canBeBuilt(forImageSize: imageSize) else { throw ImageSizeError(model: name, imageSize: imageSize) }
    }
}
