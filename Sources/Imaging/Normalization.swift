import Tensors

/// `(x - mean) / std` of each channel, in float32 as torchvision's `Normalize` computes it.
public struct Normalization: Hashable, Sendable, Codable {
    /// Of red, green and blue, for values between 0 and 1.
    public var mean: SIMD3<Float>
    public var std: SIMD3<Float>

    /// - Precondition: no element of `std` is zero.
    public init(mean: SIMD3<Float>, std: SIMD3<Float>) {
        precondition(std[0] != 0 && std[1] != 0 && std[2] != 0, "Normalization: std \(std) has a zero")
        self.mean = mean
        self.std = std
    }

    /// ImageNet's statistics, which torchvision's weights were trained with.
    public static let imageNet = Normalization(mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225])
    /// Leaves values between 0 and 1 as they are.
    public static let none = Normalization(mean: .zero, std: .one)

    /// Normalizes images `[…, 3]`. No gradient flows through it.
    public func callAsFunction(_ images: Tensor) -> Tensor {
        precondition(images.shape.last == 3, "Normalization: expected shape […, 3], got \(images.shape)")
        return Tensor(shape: images.shape) { target in
            images.withUnsafeScalars { source in
                for i in 0..<source.count / 3 {
                    for c in 0..<3 { target[3 * i + c] = (source[3 * i + c] - mean[c]) / std[c] }
                }
            }
        }
    }

    /// What each of the 256 values of each channel becomes: `[3, 256]`.
    var table: [Float] {
        (0..<3).flatMap { c in (0..<256).map { (Float($0) / 255 - mean[c]) / std[c] } }
    }
}
