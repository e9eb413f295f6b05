import Imaging
import Layers
import ModelZoo
import Tensors

/// What is made of a recognizer's embeddings before they are compared, in this order: GeM pooling within the model, the
/// mean over mirrored and resized images, PCA whitening, L2 normalization.
///
///     let descriptor = try EmbeddingDescriptor(contentsOf: "descriptor.safetensors")
///     try descriptor.prepare(recognizer)
///     let embeddings = try descriptor.embeddings(recognizer, images)
public struct EmbeddingDescriptor: Sendable {
    /// All but the whitening.
    public struct Settings: Codable, Hashable, Sendable {
        /// Whether an embedding is the mean of those of the image and of its mirror image.
        public var flip: Bool
        /// Factors of the images' sides; an embedding is the mean over all of them.
        public var scales: [Double]
        /// The exponent of GeM pooling in place of the model's average pooling; `nil`: the model pools in its own way.
        public var gem: Float?
        /// Whether embeddings are scaled to norm 1 at the end.
        public var normalizes: Bool

        /// - Precondition: there are scales, all positive and at most ``largestScale``, and `gem` is one of
        ///   `GeMPool2d.exponents`.
        public init(flip: Bool = false, scales: [Double] = [1], gem: Float? = nil, normalizes: Bool = true) {
            self.flip = flip
            self.scales = scales
            self.gem = gem
            self.normalizes = normalizes
            if let problem { preconditionFailure("EmbeddingDescriptor: \(problem)") }
        }

        /// Images are made no larger than this times their sides.
        public static let largestScale = 16.0

        /// What is wrong with settings from outside; `nil` if nothing is.
        var problem: String? {
            if scales.isEmpty { return "there are no scales" }
            if let bad = scales.first(where: { !($0 > 0 && $0 <= Self.largestScale) }) { return "a scale of \(bad)" }
            if let gem, !GeMPool2d.exponents.contains(gem) { return "a GeM exponent of \(gem)" }
            return nil
        }
    }

    public var settings: Settings
    /// `nil`: embeddings are not whitened.
    public var whitening: PCAWhitening?

    public init(_ settings: Settings = Settings(), whitening: PCAWhitening? = nil) {
        self.settings = settings
        self.whitening = whitening
    }

    /// Gives a recognizer's model the pooling that the settings want: GeM pooling, or its own again after a descriptor
    /// with GeM pooling. To be called once before the recognizer is used with this descriptor; a second call changes
    /// nothing.
    ///
    /// - Throws: ``DescriptorError`` for GeM pooling and a model that does not pool to one value per channel, or whose
    ///   pooling is not known.
    public func prepare(_ recognizer: Recognizer) throws(DescriptorError) {
        let backbone = recognizer.backbone
        if let gem = settings.gem {
            guard backbone.gemExponent != gem else { return }
            let old = try backbone.replacePooling(with: GeMPool2d(p: gem), named: recognizer.modelName)
            if recognizer.ownPooling == nil { recognizer.ownPooling = old }
        } else if let own = recognizer.ownPooling {
            try backbone.replacePooling(with: own, named: recognizer.modelName)
            recognizer.ownPooling = nil
        }
    }

    /// The finished embeddings of images.
    ///
    /// - Parameter images: `[N, H, W, 3]`, as the recognizer takes them.
    /// - Returns: `[N, D']`, with the whitening's D', or the recognizer's own size.
    /// - Precondition: the recognizer is in evaluation mode, and ``prepare(_:)`` was called with it.
    /// - Throws: ``DescriptorError`` for a whitening of another size or scales that the model does not take,
    ///   ``InputShapeError`` for images that it does not take at one of the scales.
    public func embeddings(_ recognizer: Recognizer, _ images: Tensor) throws -> Tensor {
        try checkWhitening(recognizer)
        return finished(try averagedEmbeddings(recognizer, images))
    }

    /// The embeddings of images averaged over mirror images and scales, `[N, D]`: not whitened and not normalized
    /// again.
    ///
    /// - Precondition: as of ``embeddings(_:_:)``.
    /// - Throws: ``DescriptorError`` for scales that the model does not take, ``InputShapeError``.
    public func averagedEmbeddings(_ recognizer: Recognizer, _ images: Tensor) throws -> Tensor {
        precondition(!recognizer.isTraining, "EmbeddingDescriptor: the recognizer is in training mode")
        precondition(
            settings.gem.map { $0 == recognizer.backbone.gemExponent } ?? (recognizer.ownPooling == nil),
            "EmbeddingDescriptor: the recognizer's pooling is not the descriptor's: call prepare(_:)")
        if let problem = settings.problem { preconditionFailure("EmbeddingDescriptor: \(problem)") }
        // All before anything is computed: a scale that is too small is found at once.
        try checkInput(recognizer, shape: images.shape)
        let shapes = settings.scales.map { Self.scaled(images.shape, $0) }
        return GradientMode.disabled {
            var sum: Tensor?
            for shape in shapes {
                let scaled = images.resizedImages(height: shape[1], width: shape[2])
                for input in settings.flip ? [scaled, scaled.mirroredImages()] : [scaled] {
                    let part = recognizer(input)
                    sum = sum.map { $0 + part } ?? part
                }
            }
            return sum! * (1 / Float(shapes.count * (settings.flip ? 2 : 1)))
        }
    }

    /// Averaged embeddings whitened and normalized, as the settings have it: `[N, D]` to `[N, D']`.
    ///
    /// - Precondition: D is the whitening's.
    public func finished(_ averaged: Tensor) -> Tensor {
        let whitened = whitening.map { $0(averaged) } ?? averaged
        guard settings.normalizes else { return whitened }
        // A zero vector stays one.
        return whitened / whitened.norm().clamped(low: 1e-12)
    }

    /// This descriptor with a whitening that is fitted to averaged embeddings.
    ///
    /// - Parameters:
    ///   - averaged: `[N, D]`, of ``averagedEmbeddings(_:_:)``.
    ///   - dimension: how many dimensions are kept; `nil`: all.
    public func fitted(to averaged: Tensor, dimension: Int? = nil) throws(WhiteningError) -> EmbeddingDescriptor {
        var result = self
        result.whitening = try PCAWhitening(fittedTo: averaged, dimension: dimension)
        return result
    }

    /// Checks that a recognizer takes images at each of the scales.
    ///
    /// - Parameter shape: `[N, H, W, 3]`, of the images before they are scaled.
    /// - Throws: ``DescriptorError`` for several scales where the model takes one size alone, ``InputShapeError``.
    public func checkInput(_ recognizer: Recognizer, shape: [Int]) throws {
        if settings.scales.contains(where: { $0 != 1 }),
            case .exactly(let height, let width)? = (recognizer.backbone as? any ImageSizeLimiting)?.imageSizeRule
        {
            throw DescriptorError.fixedImageSize(
                model: recognizer.modelName, height: height, width: width, scales: settings.scales)
        }
        for scale in settings.scales { try recognizer.checkInput(shape: Self.scaled(shape, scale)) }
    }

    /// Checks that this descriptor's whitening fits a recognizer.
    func checkWhitening(_ recognizer: Recognizer) throws(DescriptorError) {
        if let whitening, whitening.inputSize != recognizer.embeddingSize {
            throw .embeddingSize(
                model: recognizer.modelName, size: recognizer.embeddingSize, whitening: whitening.inputSize)
        }
    }

    /// The shape of images whose sides are multiplied by a scale and rounded, to one pixel at least.
    private static func scaled(_ shape: [Int], _ scale: Double) -> [Int] {
        guard shape.count == 4 else { return shape }
        func side(_ pixels: Int) -> Int { max(1, Int((Double(pixels) * scale).rounded())) }
        return [shape[0], side(shape[1]), side(shape[2]), shape[3]]
    }
}
