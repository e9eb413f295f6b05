import Tensors

extension EvaluationReport {
    /// Queries worth looking at. Only these are kept; scores are computed in blocks of queries.
    ///
    /// - Parameters:
    ///   - queries: `[Q, D]`, of the pictures of `queryTable`.
    ///   - gallery: `[G, D]`, of those of `galleryTable`; for averaged references, a table of one row per label.
    ///   - count: how many of each kind, at most.
    ///   - items: how many items of each, at most. The first correct one takes the last place if it ranks lower.
    /// - Returns: `best`, whose first item is correct, by the margin between that and the highest score of a wrong one;
    ///   and `worst`, whose first item is wrong, by the rank of the first correct one, then by the first item's score.
    ///   Queries whose label is not in the gallery are left out.
    public static func retrievals(
        queries: Tensor, queryTable: ImageTable, gallery: Tensor, galleryTable: ImageTable,
        metric: SimilarityMetric = .inner, count: Int = 8, items: Int = 6, blockSize: Int = 256
    ) -> (best: [Retrieval], worst: [Retrieval]) {
        precondition(
            queries.shape[0] == queryTable.count && gallery.shape[0] == galleryTable.count,
            "retrievals: embeddings \(queries.shape), \(gallery.shape) of \(queryTable.count) and "
                + "\(galleryTable.count) rows")
        precondition(count >= 0 && items > 0, "retrievals: \(count) queries, \(items) items")
        var numbers: [String: Int] = [:]
        for (number, label) in galleryTable.labels.enumerated() { numbers[label] = number }
        let galleryLabels = galleryTable.rows.map { numbers[$0.label]! }
        let queryLabels = queryTable.rows.map { numbers[$0.label] }
        var best: [Candidate] = [], worst: [Candidate] = []
        metric.forEachBlock(queries: queries, gallery: gallery, blockSize: blockSize) { first, scores in
            scores.withUnsafeScalars { scores in
                for row in 0..<scores.count / galleryLabels.count {
                    guard let label = queryLabels[first + row] else { continue }
                    let own = UnsafeBufferPointer(
                        rebasing: scores[row * galleryLabels.count..<(row + 1) * galleryLabels.count])
                    guard let found = Candidate.of(first + row, own, galleryLabels, label) else { continue }
                    if found.isBest { best.append(found.candidate) } else { worst.append(found.candidate) }
                }
            }
            best = Array(best.sorted().prefix(count))
            worst = Array(worst.sorted().prefix(count))
        }
        func retrieval(_ candidate: Candidate) -> Retrieval {
            let scores = metric.scores(
                queries: queries.sliced(axis: 0, candidate.query..<candidate.query + 1), gallery: gallery)
            let ranking = scores.withUnsafeScalars {
                Ranking(scores: $0, labels: galleryLabels, label: queryLabels[candidate.query]!)
            }
            var ranks = Array(ranking.order.indices.prefix(items))
            if let correct = ranking.firstPositive, correct >= items { ranks[items - 1] = correct }
            let query = queryTable.rows[candidate.query]
            return Retrieval(
                queryPath: query.path, queryLabel: query.label,
                items: ranks.map { rank in
                    let row = galleryTable.rows[ranking.order[rank]]
                    return Retrieval.Item(
                        path: row.path, label: row.label, score: ranking.scores[rank],
                        isCorrect: ranking.isPositive[rank], rank: rank + 1)
                })
        }
        return (best.map(retrieval), worst.map(retrieval))
    }

    /// A query that may be shown, and how it compares to others of its kind: what is shown first comes first.
    private struct Candidate: Comparable {
        let query: Int
        /// The rank of the first correct item, from 0.
        let rank: Int
        /// The margin of the best; the first item's score of the worst.
        let score: Float

        static func < (a: Candidate, b: Candidate) -> Bool {
            if a.rank != b.rank { return a.rank > b.rank }
            return a.score == b.score ? a.query < b.query : a.score > b.score
        }

        /// `nil` if the gallery has no wrong item, or scores that are no numbers.
        static func of(
            _ query: Int, _ scores: UnsafeBufferPointer<Float>, _ labels: [Int], _ label: Int
        ) -> (candidate: Candidate, isBest: Bool)? {
            var right: Int?, wrong: Int?
            for (column, score) in scores.enumerated() {
                guard !score.isNaN else { return nil }
                if labels[column] == label {
                    if right.map({ score > scores[$0] }) ?? true { right = column }
                } else if wrong.map({ score > scores[$0] }) ?? true {
                    wrong = column
                }
            }
            guard let right, let wrong else { return nil }
            let bar = scores[right]
            let rank = scores.indices.count { scores[$0] > bar || scores[$0] == bar && $0 < right }
            if rank == 0 { return (Candidate(query: query, rank: 0, score: bar - scores[wrong]), true) }
            return (Candidate(query: query, rank: rank, score: scores[wrong]), false)
        }
    }
}
