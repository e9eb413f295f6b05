import Layers
import Tensors

/// An evaluation of recognizers on two sets of pictures with the same labels: a gallery of references, and queries.
public struct RecognitionEvaluation: Sendable {
    public let gallery: ImageLoader
    public let query: ImageLoader
    public let metric: SimilarityMetric
    /// Whether the references of each label are averaged.
    public let averagesReferences: Bool

    /// - Parameters:
    ///   - transform: of all pictures.
    /// - Throws: ``ImageLoaderError`` where there are no pictures.
    public init(
        gallery: ImageTable, query: ImageTable, transform: EvaluationTransform, batchSize: Int = 32, workers: Int = 2,
        cacheMegabytes: Int = 0, metric: SimilarityMetric = .inner, averagesReferences: Bool = false
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
    }

    /// The metrics of a recognizer in evaluation mode.
    ///
    /// - Throws: ``ImageLoaderError`` for a picture that cannot be read.
    public func metrics(_ recognizer: Recognizer) throws -> RetrievalMetrics {
        var (references, labels) = (try recognizer.embeddings(of: gallery), gallery.labels)
        if averagesReferences { (references, labels) = averageReferences(references, labels: labels) }
        return RetrievalMetrics(
            queries: try recognizer.embeddings(of: query), queryLabels: query.labels, gallery: references,
            galleryLabels: labels, metric: metric)
    }
}

extension Recognizer {
    /// The embeddings of a loader's pictures in the table's order, `[N, D]`; those of a picture's three crops are averaged,
    /// as the reference's `embeddings_three_crops`.
    ///
    /// - Precondition: the recognizer is in evaluation mode, and the loader one for evaluation.
    /// - Throws: ``ImageLoaderError`` for a picture that cannot be read.
    public func embeddings(of loader: ImageLoader) throws -> Tensor {
        precondition(!isTraining, "embeddings(of:): the recognizer is in training mode")
        var parts: [Tensor] = []
        for batch in loader.batches() {
            let batch = try batch.get()
            let output = GradientMode.disabled { self(batch.images) }
            let count = batch.labels.count
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
