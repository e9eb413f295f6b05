import Layers
import Tensors

/// An evaluation of recognizers on two sets of pictures with the same labels: a gallery of references, and queries.
public struct RecognitionEvaluation: Sendable {
    public let gallery: ImageLoader
    public let query: ImageLoader
    public let metric: SimilarityMetric
    /// Whether the references of each label are averaged.
    public let averagesReferences: Bool
    /// What is made of the embeddings before they are compared; `nil`: nothing.
    public let descriptor: EmbeddingDescriptor?

    /// - Parameters:
    ///   - transform: of all pictures.
    ///   - descriptor: what is made of the embeddings before they are compared; recognizers have been prepared for it.
    /// - Throws: ``ImageLoaderError`` where there are no pictures.
    public init(
        gallery: ImageTable, query: ImageTable, transform: EvaluationTransform, batchSize: Int = 32, workers: Int = 2,
        cacheMegabytes: Int = 0, metric: SimilarityMetric = .inner, averagesReferences: Bool = false,
        descriptor: EmbeddingDescriptor? = nil
    ) throws(ImageLoaderError) {
        let names = ImageTable(rows: gallery.rows + query.rows).labels
        let numbers = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
        func loader(_ table: ImageTable) throws(ImageLoaderError) -> ImageLoader {
            try ImageLoader(
                table, labelNumbers: numbers, transform: transform, batchSize: batchSize, workers: workers,
                cacheMegabytes: cacheMegabytes)
        }
        self.gallery = try loader(gallery)
        self.query = try loader(query)
        self.metric = metric
        self.averagesReferences = averagesReferences
        self.descriptor = descriptor
    }

    /// The metrics of a recognizer in evaluation mode.
    ///
    /// - Throws: ``ImageLoaderError`` for a picture that cannot be read; what the descriptor's
    ///   ``EmbeddingDescriptor/embeddings(_:_:)`` throws.
    public func metrics(_ recognizer: Recognizer) throws -> RetrievalMetrics {
        var references = try recognizer.embeddings(of: gallery, descriptor: descriptor)
        var labels = gallery.labels
        if averagesReferences { (references, labels) = averageReferences(references, labels: labels) }
        return RetrievalMetrics(
            queries: try recognizer.embeddings(of: query, descriptor: descriptor), queryLabels: query.labels,
            gallery: references, galleryLabels: labels, metric: metric)
    }
}

/// An embedding with elements that are no finite numbers: it cannot be compared with others.
public struct EmbeddingError: Error, CustomStringConvertible {
    /// The picture.
    public let path: String
    public var description: String {
        "\(path): its embedding is not finite; the weights may have diverged, or the picture may be a black one"
    }
}

extension Recognizer {
    /// The embeddings of a loader's pictures in the table's order, `[N, D]`; those of a picture's three crops are
    /// averaged, as the reference's `embeddings_three_crops`.
    ///
    /// - Parameter descriptor: what is made of the embeddings, after the mean over crops; `nil`: nothing.
    /// - Precondition: the recognizer is in evaluation mode and prepared for the descriptor, and the loader one for
    ///   evaluation.
    /// - Throws: ``ImageLoaderError`` for a picture that cannot be read, ``EmbeddingError`` for an embedding that is not
    ///   finite; what ``EmbeddingDescriptor/embeddings(_:_:)`` throws.
    public func embeddings(of loader: ImageLoader, descriptor: EmbeddingDescriptor? = nil) throws -> Tensor {
        try descriptor?.checkWhitening(self)
        let raw = try averagedEmbeddings(of: loader, descriptor: descriptor)
        return descriptor.map { $0.finished(raw) } ?? raw
    }

    /// The embeddings of a loader's pictures averaged over crops, mirror images and scales, `[N, D]`: what a whitening
    /// is fitted to.
    ///
    /// - Precondition, Throws: as of ``embeddings(of:descriptor:)``.
    public func averagedEmbeddings(of loader: ImageLoader, descriptor: EmbeddingDescriptor?) throws -> Tensor {
        precondition(!isTraining, "embeddings(of:): the recognizer is in training mode")
        var parts: [Tensor] = []
        for batch in loader.batches() {
            let batch = try batch.get()
            let output =
                try descriptor?.averagedEmbeddings(self, batch.images)
                ?? GradientMode.disabled { self(batch.images) }
            let count = batch.labels.count
            let perPicture = output.count / max(1, count)
            if let bad = output.withUnsafeScalars({ $0.firstIndex { !$0.isFinite } }) {
                throw EmbeddingError(path: loader.table.rows[batch.rows[bad / perPicture]].path)
            }
            guard output.shape[0] != count else {
                parts.append(output)
                continue
            }
            let crops = output.shape[0] / count
            parts.append(output.reshaped([count, crops, output.shape[1]]).mean(axes: 1))
        }
        return .concatenated(parts, axis: 0)
    }
}
