import Tensors

/// Generalized-mean pooling over each channel: `[N, H, W, C]` to `[N, 1, 1, C]`.
///
/// y = (mean of max(x, eps)^p)^(1/p): the average for p = 1, closer to the maximum the larger p is. Radenović, Tolias,
/// Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, arXiv 1711.02512; with a fixed p.
public final class GeMPool2d: Module {
    /// The exponent.
    public let p: Float
    /// What smaller inputs count as.
    public let eps: Float

    /// The exponents that float32 takes: from 7 on, the default `eps` raised to them is no normal number any more.
    public static let exponents: ClosedRange<Float> = 1...6

    /// - Precondition: `p` is one of ``exponents``, and `eps` from 1e-6 to 1.
    public init(p: Float = 3, eps: Float = 1e-6) {
        precondition(Self.exponents.contains(p) && (1e-6...1).contains(eps), "GeMPool2d: p \(p), eps \(eps)")
        self.p = p
        self.eps = eps
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        let clamped = x.clamped(low: eps)
        guard p != 1 else { return clamped.adaptiveAvgPool2d(height: 1, width: 1) }
        return (power(clamped).adaptiveAvgPool2d(height: 1, width: 1).log() * (1 / p)).exp()
    }

    /// Products where they will do: they are faster and more exact than the exponential of a logarithm.
    private func power(_ x: Tensor) -> Tensor {
        switch p {
        case 2: x.squared()
        case 3: x.squared() * x
        case 4: x.squared().squared()
        default: (x.log() * p).exp()
        }
    }

    public override var hyperparameterDescription: String { "p=\(p), eps=\(eps)" }
}
