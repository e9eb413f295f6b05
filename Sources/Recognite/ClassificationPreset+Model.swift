import Imaging

extension ClassificationPreset {
    /// torchvision's usual preset for an input size: the shorter side resized to 8/7 of it (256 for 224, 342 for 299),
    /// bilinear.
    public static func standard(inputSize: Int) -> ClassificationPreset {
        ClassificationPreset(cropSize: inputSize, resizeSize: (inputSize * 8 + 3) / 7)
    }
}
