import Tensors

/// How well queries find the items of their label in a gallery: all metrics of one evaluation, computed in blocks of
/// queries, so that memory does not grow with queries times gallery.
///
/// Equal scores rank in the gallery's order. A query without an item of its label counts as not recognized, with an average
/// precision of 0, as in the reference; ``queriesWithoutPositives`` says how many there are.
public struct RetrievalMetrics: Sendable, Codable, Hashable {
    public let queries: Int
    public let gallery: Int
    public let queriesWithoutPositives: Int
    /// The part of queries whose most similar item has their label.
    public let accuracy: Double
    /// The part of queries with an item of their label among the first k, at index k - 1, for k up to 50: the cumulative
    /// matching characteristic.
    public let cumulativeMatching: [Double]
    /// Means over the queries.
    public let meanAveragePrecision: Double
    public let meanAveragePrecisionAtR: Double
    public let rPrecision: Double
    /// Means over the queries of what their precision-recall curves have at the largest F1 score.
    public let maximalF1: MaximalF1
    /// The mean of the queries' interpolated precision-recall curves, at the recalls 0, 0.01, …, 1.
    public let precisionAtRecall: [Double]
    /// Of all pairs together: true against false acceptances.
    public let verification: Verification

    public struct MaximalF1: Sendable, Codable, Hashable {
        public let precision, recall, threshold, f1: Double
    }

    /// Metrics of embeddings.
    ///
    /// - Parameters:
    ///   - queries: `[Q, D]`.
    ///   - gallery: `[G, D]`.
    ///   - ignored: whether a pair of a query and an item does not count, such as a picture with itself.
    ///   - blockSize: queries whose scores are in memory at once.
    public init(
        queries: Tensor, queryLabels: [Int], gallery: Tensor, galleryLabels: [Int], metric: SimilarityMetric = .inner,
        blockSize: Int = 256, ignoring ignored: (@Sendable (_ query: Int, _ item: Int) -> Bool)? = nil
    ) {
        precondition(
            queries.shape[0] == queryLabels.count && gallery.shape[0] == galleryLabels.count && !galleryLabels.isEmpty,
            "RetrievalMetrics: embeddings \(queries.shape), \(gallery.shape) of \(queryLabels.count) and "
                + "\(galleryLabels.count) labels")
        var sums = Sums()
        var survey = ScoreSurvey()
        func forEachBlock(_ body: (Int, Tensor) -> Void) {
            metric.forEachBlock(queries: queries, gallery: gallery, blockSize: blockSize, body)
        }
        forEachBlock { first, scores in
            for ranking in Self.rankings(scores, first, queryLabels, galleryLabels, ignored) {
                sums.add(ranking)
                for (score, isPositive) in zip(ranking.scores, ranking.isPositive) {
                    survey.add(score, isPositive: isPositive)
                }
            }
        }
        // The scores once more, now that it is known where the thresholds fall.
        var histogram = ScoreHistogram(survey)
        forEachBlock { first, scores in
            scores.withUnsafeScalars { scores in
                for row in 0..<scores.count / galleryLabels.count {
                    let query = first + row
                    for (column, label) in galleryLabels.enumerated() where ignored?(query, column) != true {
                        histogram.add(
                            scores[row * galleryLabels.count + column], isPositive: label == queryLabels[query])
                    }
                }
            }
        }
        self.queries = queryLabels.count
        self.gallery = galleryLabels.count
        let n = Double(max(1, queryLabels.count))
        queriesWithoutPositives = sums.withoutPositives
        cumulativeMatching = sums.hits.map { Double($0) / n }
        accuracy = cumulativeMatching[0]
        meanAveragePrecision = sums.averagePrecision / n
        meanAveragePrecisionAtR = sums.averagePrecisionAtR / n
        rPrecision = sums.rPrecision / n
        maximalF1 = MaximalF1(
            precision: sums.maximalF1[0] / n, recall: sums.maximalF1[1] / n, threshold: sums.maximalF1[2] / n,
            f1: sums.maximalF1[3] / n)
        precisionAtRecall = sums.precisions.map { $0 / n }
        verification = histogram.verification
    }

    /// The part of queries with an item of their label among the first `k`, up to 50.
    public func recall(at k: Int) -> Double {
        precondition((1...cumulativeMatching.count).contains(k), "recall(at:): k is \(k)")
        return cumulativeMatching[k - 1]
    }

    /// The metrics by name, as training logs them and `bestMetric` chooses one; without EER and TAR where there are no
    /// pairs of both kinds.
    public var named: [String: Double] {
        var result = [
            "accuracy": accuracy, "mAP": meanAveragePrecision, "mAP@R": meanAveragePrecisionAtR,
            "R-precision": rPrecision, "P@maxF1": maximalF1.precision, "R@maxF1": maximalF1.recall,
            "T@maxF1": maximalF1.threshold, "maxF1": maximalF1.f1,
        ]
        result["EER"] = verification.equalErrorRate
        for k in [1, 5, 10] { result["recall@\(k)"] = recall(at: k) }
        for point in verification.acceptances { result["TAR@FAR=\(point.name)"] = point.trueAcceptance }
        return result
    }

    /// The rankings of a block of queries, computed side by side.
    private static func rankings(
        _ scores: Tensor, _ first: Int, _ queryLabels: [Int], _ galleryLabels: [Int],
        _ ignored: (@Sendable (Int, Int) -> Bool)?
    ) -> [Ranking] {
        let rows = scores.shape[0], columns = galleryLabels.count
        var result = [Ranking?](repeating: nil, count: rows)
        scores.withUnsafeScalars { scores in
            result.withUnsafeMutableBufferPointer { result in
                // Each iteration writes its own element.
                nonisolated(unsafe) let target = result
                parallelFor(rows, grain: max(1, 1024 / columns)) { begin, end in
                    for row in begin..<end {
                        target[row] = Ranking(
                            scores: UnsafeBufferPointer(rebasing: scores[row * columns..<(row + 1) * columns]),
                            labels: galleryLabels, label: queryLabels[first + row],
                            ignoring: ignored.map { ignored in { ignored(first + row, $0) } })
                    }
                }
            }
        }
        return result.map { $0! }
    }

    private struct Sums {
        var hits = [Int](repeating: 0, count: 50)
        var withoutPositives = 0
        var averagePrecision = 0.0, averagePrecisionAtR = 0.0, rPrecision = 0.0
        /// Precision, recall, threshold, F1.
        var maximalF1 = [0.0, 0, 0, 0]
        var precisions = [Double](repeating: 0, count: 101)

        mutating func add(_ ranking: Ranking) {
            guard !ranking.order.isEmpty else {
                withoutPositives += 1
                return
            }
            if let first = ranking.firstPositive {
                for k in min(first, hits.count)..<hits.count { hits[k] += 1 }
            } else {
                withoutPositives += 1
            }
            averagePrecisionAtR += ranking.averagePrecisionAtR
            rPrecision += ranking.rPrecision
            let curve = ranking.curve
            averagePrecision += Double(curve.averagePrecision)
            let best = curve.maximalF1
            for (index, value) in [best.precision, best.recall, best.threshold, best.f1].enumerated() {
                maximalF1[index] += Double(value)
            }
            guard ranking.firstPositive != nil else { return }
            for step in 0...100 { precisions[step] += curve.precision(atRecall: Double(step) / 100) }
        }
    }
}
