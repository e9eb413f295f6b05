/// One query's gallery, the most alike first; equal scores in the gallery's order.
struct Ranking {
    /// Columns of the gallery.
    let order: [Int]
    let scores: [Float]
    /// Whether the item at each rank has the query's label.
    let isPositive: [Bool]

    /// - Parameters:
    ///   - scores: with each item of the gallery.
    ///   - ignored: columns that do not count for this query.
    init(scores: UnsafeBufferPointer<Float>, labels: [Int], label: Int, ignoring ignored: ((Int) -> Bool)? = nil) {
        var columns = Array(scores.indices)
        if let ignored { columns.removeAll(where: ignored) }
        columns.sort { scores[$0] == scores[$1] ? $0 < $1 : scores[$0] > scores[$1] }
        order = columns
        self.scores = columns.map { scores[$0] }
        isPositive = columns.map { labels[$0] == label }
    }

    var positiveCount: Int { isPositive.count { $0 } }

    /// The rank of the first positive, from 0; `nil` if there is none.
    var firstPositive: Int? { isPositive.firstIndex(of: true) }

    /// The part of positives among as many first ranks as there are positives.
    var rPrecision: Double {
        let r = positiveCount
        return r == 0 ? 0 : Double(isPositive.prefix(r).count { $0 }) / Double(r)
    }

    /// Mean average precision at R (Musgrave et al., "A Metric Learning Reality Check", arXiv 2003.08505): the precision
    /// at each positive among the first R ranks, summed, over R.
    var averagePrecisionAtR: Double {
        let r = positiveCount
        var (hits, sum) = (0, 0.0)
        for (rank, positive) in isPositive.prefix(r).enumerated() where positive {
            hits += 1
            sum += Double(hits) / Double(rank + 1)
        }
        return r == 0 ? 0 : sum / Double(r)
    }

    /// The precision-recall curve in the reference's form.
    var curve: PrecisionRecallCurve {
        let total = positiveCount
        var points: [(precision: Float, recall: Float, threshold: Float)] = []
        var hits = 0
        for rank in order.indices {
            if isPositive[rank] { hits += 1 }
            // A threshold takes all items of its score.
            if rank + 1 < order.count, scores[rank] == scores[rank + 1] { continue }
            points.append((Float(hits) / Float(rank + 1), total == 0 ? 1 : Float(hits) / Float(total), scores[rank]))
            if hits == total { break }
        }
        points.reverse()
        return PrecisionRecallCurve(
            precisions: points.map(\.precision) + [1], recalls: points.map(\.recall) + [0],
            thresholds: points.map(\.threshold))
    }
}

/// The precision and recall of one query at each threshold, lowest threshold first, up to where recall is complete.
///
/// A last point of precision 1 and recall 0 has no threshold. A query without positives has one threshold, the highest
/// score, with precision 0 and recall 1.
public struct PrecisionRecallCurve: Sendable, Hashable, Codable {
    public let precisions: [Float]
    public let recalls: [Float]
    public let thresholds: [Float]

    /// The sum of each precision times the step of recall at it.
    public var averagePrecision: Float {
        zip(recalls.dropFirst(), zip(recalls, precisions)).reduce(0) { $0 - ($1.0 - $1.1.0) * $1.1.1 }
    }

    /// The point with the largest F1 score.
    public var maximalF1: (precision: Float, recall: Float, threshold: Float, f1: Float) {
        var best = (precision: Float(0), recall: Float(0), threshold: thresholds.first ?? 0, f1: Float(-1))
        for (index, threshold) in thresholds.enumerated() {
            let (p, r) = (precisions[index], recalls[index])
            let f1 = p + r > 0 ? 2 * (p * r) / (p + r) : 0
            if f1 > best.f1 { best = (p, r, threshold, f1) }
        }
        return best
    }

    /// The highest precision at this recall or more, of the points that have a threshold.
    func precision(atRecall recall: Double) -> Double {
        Double(zip(precisions.dropLast(), recalls).lazy.filter { Double($0.1) >= recall - 1e-6 }.map(\.0).max() ?? 0)
    }
}
