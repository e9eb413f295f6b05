import Foundation
import Recognite
import TestSupport
import Testing

/// Metrics of score matrices against the reference library's (`make_task_golden.py`).
@Suite struct ScoreMetricsTests {
    struct Golden: Decodable {
        struct Case: Decodable {
            let queries: Int
            let gallery: Int
            let gallery_labels: [Int]
            let query_labels: [Int]
            let rounded: Bool
            let pr: Curves
            let hard: Hard
            // Not where scores are equal: torch's order of those is its own affair.
            let top_k_accuracy: [String: Double]?
            let knn: [String: [Int]]?
            let sorted_labels: [[Int]]?
        }

        struct Curves: Decodable {
            let Precisions, Recalls, Thresholds: [[Float]]
            let AP, mAP: [Double]
            let precision, recall, threshold, f1: [Double]

            enum CodingKeys: String, CodingKey {
                case Precisions, Recalls, Thresholds, AP, mAP
                case precision = "P@maxF1"
                case recall = "R@maxF1"
                case threshold = "T@maxF1"
                case f1 = "maxF1"
            }
        }

        struct Hard: Decodable {
            let HardPosScores, HardNegScores: [Float]
        }

        struct Average: Decodable {
            let labels, unique: [Int]
            let mean: [Float]
        }

        let cases: [Case]
        let average: Average
    }

    private func golden() throws -> Golden {
        let url = try #require(
            Bundle.module.url(forResource: "metrics", withExtension: "json", subdirectory: "Golden/tasks"))
        return try JSONDecoder().decode(Golden.self, from: Data(contentsOf: url))
    }

    private func metrics(_ row: Golden.Case, _ index: Int) -> ScoreMetrics {
        var scores = ReferenceFill.signedUniform(row.queries * row.gallery, key: "scores\(index)", salt: "golden")
        // As torch.round: half to even.
        if row.rounded { scores = scores.map { ($0 * 16).rounded(.toNearestOrEven) / 16 } }
        return ScoreMetrics(
            scores: Tensor(scores, shape: [row.queries, row.gallery]), galleryLabels: row.gallery_labels,
            queryLabels: row.query_labels)
    }

    private func isClose(_ a: [Float], _ b: [Float]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 }
    }

    private func isClose(_ a: [Double], _ b: [Double]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 }
    }

    @Test func curvesEqualTheReference() throws {
        let cases = try golden().cases
        #expect(cases.count == 5)
        for (index, row) in cases.enumerated() {
            let metrics = metrics(row, index)
            let curves = metrics.precisionRecallCurves()
            #expect(curves.count == row.queries)
            for (query, curve) in curves.enumerated() {
                let place = "case \(index), query \(query)"
                #expect(isClose(curve.precisions, row.pr.Precisions[query]), "\(place)")
                #expect(isClose(curve.recalls, row.pr.Recalls[query]), "\(place)")
                #expect(isClose(curve.thresholds, row.pr.Thresholds[query]), "\(place)")
            }
            #expect(isClose(curves.map { Double($0.averagePrecision) }, row.pr.AP), "case \(index)")
            #expect(isClose([metrics.meanAveragePrecision()], row.pr.mAP), "case \(index)")
            let best = curves.map(\.maximalF1)
            #expect(isClose(best.map { Double($0.precision) }, row.pr.precision), "case \(index)")
            #expect(isClose(best.map { Double($0.recall) }, row.pr.recall), "case \(index)")
            #expect(isClose(best.map { Double($0.threshold) }, row.pr.threshold), "case \(index)")
            #expect(isClose(best.map { Double($0.f1) }, row.pr.f1), "case \(index)")
        }
    }

    @Test func hardScoresEqualTheReference() throws {
        for (index, row) in try golden().cases.enumerated() {
            let hard = metrics(row, index).hardScores()
            #expect(isClose(hard.positives, row.hard.HardPosScores), "case \(index)")
            #expect(isClose(hard.negatives, row.hard.HardNegScores), "case \(index)")
        }
    }

    @Test func rankingsEqualTheReference() throws {
        var compared = 0
        for (index, row) in try golden().cases.enumerated() where !row.rounded {
            let metrics = metrics(row, index)
            let accuracies = try #require(row.top_k_accuracy), votes = try #require(row.knn)
            for k in [1, 3, 5] {
                let accuracy = try #require(accuracies["\(k)"])
                #expect(isClose([metrics.topKAccuracy(k)], [accuracy]), "case \(index), \(k)")
                #expect(metrics.nearestNeighbors(k) == votes["\(k)"], "case \(index), \(k)")
            }
            #expect(metrics.accuracy() == metrics.topKAccuracy(1))
            let sorted = metrics.sorted()
            #expect(sorted.labels == row.sorted_labels, "case \(index)")
            #expect(sorted.scores.allSatisfy { zip($0, $0.dropFirst()).allSatisfy { $0 >= $1 } })
            compared += 1
        }
        #expect(compared == 3)
    }

    @Test func averagesEqualTheReference() throws {
        let average = try golden().average
        let embeddings = Tensor(
            ReferenceFill.signedUniform(40 * 6, key: "embeddings", salt: "golden"), shape: [40, 6])
        let (means, labels) = averageReferences(embeddings, labels: average.labels)
        #expect(labels == average.unique)
        #expect(means.shape == [average.unique.count, 6])
        #expect(isClose(means.scalars, average.mean))
    }

    /// Equal scores: the gallery's order in a ranking, one threshold in a curve, the smaller label in a vote.
    @Test func equalScores() {
        let metrics = ScoreMetrics(
            scores: Tensor([0.5, 0.5, 0.5, 0.25], shape: [1, 4]), galleryLabels: [3, 2, 3, 2], queryLabels: [2])
        #expect(metrics.sorted().labels == [[3, 2, 3, 2]])
        #expect(metrics.accuracy() == 0)
        #expect(metrics.topKAccuracy(2) == 1)
        // Votes: 3 | 3, 2 | 3, 2, 3 | two each.
        #expect((1...4).map { metrics.nearestNeighbors($0)[0] } == [3, 2, 3, 2])
        // Of the three at 0.5, one is right; of all four, both.
        let curve = metrics.precisionRecallCurves()[0]
        #expect(curve.thresholds == [0.25, 0.5])
        #expect(curve.precisions == [0.5, 1 / 3, 1])
        #expect(curve.recalls == [1, 0.5, 0])
    }

    /// More neighbours than there are items: all of them.
    @Test func moreNeighboursThanItems() {
        let metrics = ScoreMetrics(
            scores: Tensor([0.1, 0.9, 0.2], shape: [1, 3]), galleryLabels: [5, 7, 5], queryLabels: [5])
        #expect(metrics.topKAccuracy(100) == 1)
        #expect(metrics.nearestNeighbors(100) == [5])
    }

    @Test func runningExtrema() {
        var highest = RunningExtrema(.max), lowest = RunningExtrema(.min)
        for value in [0.5, -1, 0.75, 0.7] {
            highest.update("a", value)
            lowest.update("a", value)
        }
        #expect(highest.values == ["a": 0.75] && lowest.values == ["a": -1])
        // As good as the present one counts as new, as in the reference.
        #expect(highest.isNewExtremum(0.75, for: "a") && !highest.isNewExtremum(0.7499, for: "a"))
        #expect(lowest.isNewExtremum(-1, for: "a") && !lowest.isNewExtremum(-0.9, for: "a"))
        #expect(highest.isNewExtremum(-.infinity, for: "b"))
        highest.update(["a": 0.1, "b": 2, "c": -3])
        #expect(highest.values == ["a": 0.75, "b": 2, "c": -3])
        // The reference keeps a first NaN for ever.
        highest.update("d", .nan)
        highest.update("a", .nan)
        #expect(highest.values == ["a": 0.75, "b": 2, "c": -3])
        highest.clear()
        #expect(highest.values.isEmpty && highest.isNewExtremum(0, for: "a"))
    }
}
