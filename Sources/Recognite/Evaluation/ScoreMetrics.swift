import Tensors

/// The metrics of a score matrix, as the reference's `recognite.eval` has them. Scores are `[Q, G]`, one row for each query;
/// labels are those of the gallery's items (columns) and of the queries (rows).
public struct ScoreMetrics: Sendable {
    public let scores: Tensor
    public let galleryLabels: [Int]
    public let queryLabels: [Int]

    /// - Precondition: the numbers of labels are those of the rows and columns.
    public init(scores: Tensor, galleryLabels: [Int], queryLabels: [Int]) {
        precondition(
            scores.shape == [queryLabels.count, galleryLabels.count],
            "ScoreMetrics: scores \(scores.shape) of \(queryLabels.count) queries and \(galleryLabels.count) items")
        self.scores = scores
        self.galleryLabels = galleryLabels
        self.queryLabels = queryLabels
    }

    private var rankings: [Ranking] {
        scores.withUnsafeScalars { all in
            queryLabels.enumerated().map { row, label in
                let start = row * galleryLabels.count
                return Ranking(
                    scores: UnsafeBufferPointer(rebasing: all[start..<start + galleryLabels.count]),
                    labels: galleryLabels, label: label)
            }
        }
    }

    /// The scores of each query, highest first, and the labels they belong to; equal scores in the gallery's order. The
    /// reference's `sort_scores`.
    public func sorted() -> (scores: [[Float]], labels: [[Int]]) {
        let rankings = rankings
        return (rankings.map(\.scores), rankings.map { $0.order.map { galleryLabels[$0] } })
    }

    /// The part of queries whose most similar item has their label. The reference's `accuracy`.
    public func accuracy() -> Double { topKAccuracy(1) }

    /// The part of queries with an item of their label among the `k` most similar. The reference's `top_k_accuracy`.
    public func topKAccuracy(_ k: Int) -> Double {
        precondition(k > 0, "topKAccuracy: k is \(k)")
        let hits = rankings.count { ($0.firstPositive ?? .max) < k }
        return Double(hits) / Double(max(1, queryLabels.count))
    }

    /// The most frequent label among the `k` most similar items of each query, the smallest of several. The reference's
    /// `knn`.
    public func nearestNeighbors(_ k: Int) -> [Int] {
        precondition(k > 0 && !galleryLabels.isEmpty, "nearestNeighbors: k is \(k), of \(galleryLabels.count) items")
        return rankings.map { ranking in
            var counts: [Int: Int] = [:]
            for column in ranking.order.prefix(k) { counts[galleryLabels[column], default: 0] += 1 }
            let most = counts.values.max()!
            return counts.filter { $0.value == most }.keys.min()!
        }
    }

    /// The curve of each query. Its average precision and the mean of them, and the point of the largest F1 score, are
    /// those of the reference's `pr_metrics`.
    public func precisionRecallCurves() -> [PrecisionRecallCurve] { rankings.map(\.curve) }

    /// The mean of the queries' average precisions; 0 counts for a query without positives.
    public func meanAveragePrecision() -> Double {
        let curves = precisionRecallCurves()
        return curves.reduce(0) { $0 + Double($1.averagePrecision) } / Double(max(1, curves.count))
    }

    /// The lowest score with an item of the query's label, and the highest with one of another, for each query that has
    /// such an item. The reference's `hard_pos_neg_scores`.
    public func hardScores() -> (positives: [Float], negatives: [Float]) {
        let rankings = rankings
        return (
            rankings.compactMap { ranking in
                ranking.isPositive.lastIndex(of: true).map { ranking.scores[$0] }
            },
            rankings.compactMap { ranking in
                ranking.isPositive.firstIndex(of: false).map { ranking.scores[$0] }
            }
        )
    }
}

/// The mean of the embeddings of each label. The reference's `avg_ref_embs`.
///
/// - Parameter embeddings: `[N, D]`.
/// - Returns: `[L, D]`, and the labels in rising order.
public func averageReferences(_ embeddings: Tensor, labels: [Int]) -> (embeddings: Tensor, labels: [Int]) {
    precondition(
        embeddings.rank == 2 && embeddings.shape[0] == labels.count,
        "averageReferences: embeddings \(embeddings.shape) of \(labels.count) labels")
    let unique = Set(labels).sorted()
    let rows = Dictionary(uniqueKeysWithValues: unique.enumerated().map { ($1, $0) })
    let size = embeddings.shape[1]
    let means = Tensor(shape: [unique.count, size]) { target in
        target.update(repeating: 0)
        var counts = [Int](repeating: 0, count: unique.count)
        embeddings.withUnsafeScalars { source in
            for (index, label) in labels.enumerated() {
                let row = rows[label]!
                counts[row] += 1
                for k in 0..<size { target[row * size + k] += source[index * size + k] }
            }
        }
        for (row, count) in counts.enumerated() {
            for k in 0..<size { target[row * size + k] /= Float(count) }
        }
    }
    return (means, unique)
}

/// The largest or smallest value so far under each name. The reference's `RunningExtrema`.
public struct RunningExtrema: Sendable {
    public enum Extremum: String, Sendable { case max, min }

    public let extremum: Extremum
    public private(set) var values: [String: Double] = [:]

    public init(_ extremum: Extremum) { self.extremum = extremum }

    /// Whether a value would take the place of the present one: it is as good or better, or the first. NaN never does.
    public func isNewExtremum(_ value: Double, for name: String) -> Bool {
        guard !value.isNaN else { return false }
        guard let present = values[name] else { return true }
        return extremum == .max ? value >= present : value <= present
    }

    public mutating func update(_ name: String, _ value: Double) {
        if isNewExtremum(value, for: name) { values[name] = value }
    }

    public mutating func update(_ values: [String: Double]) {
        for (name, value) in values { update(name, value) }
    }

    public mutating func clear() { values = [:] }
}
