import Recognite
import TestSupport
import Testing

/// Metrics of embeddings: in blocks, with ignored pairs, and numbers by hand.
@Suite struct RetrievalMetricsTests {
    /// Multiples of 1/8, so that sums of products are exact in any order, and many scores are equal.
    private func embeddings(_ count: Int, _ size: Int, _ key: String) -> Tensor {
        let values = ReferenceFill.signedUniform(count * size, key: key, salt: "retrieval")
        return Tensor(values.map { ($0 * 8).rounded() / 8 }, shape: [count, size])
    }

    private func identity(_ size: Int) -> Tensor {
        Tensor((0..<size * size).map { $0 % (size + 1) == 0 ? 1 : 0 }, shape: [size, size])
    }

    /// Metrics of scores: with the unit vectors as the gallery, queries are their own scores.
    private func metrics(_ scores: [[Float]], _ queryLabels: [Int], _ galleryLabels: [Int]) -> RetrievalMetrics {
        RetrievalMetrics(
            queries: Tensor(scores.flatMap { $0 }, shape: [scores.count, galleryLabels.count]),
            queryLabels: queryLabels, gallery: identity(galleryLabels.count), galleryLabels: galleryLabels)
    }

    @Test(arguments: [SimilarityMetric.inner, .euclidean, .squaredEuclidean])
    func blocksOfAnySizeGiveTheSame(metric: SimilarityMetric) {
        let queries = embeddings(11, 5, "queries"), gallery = embeddings(23, 5, "gallery")
        let (queryLabels, galleryLabels) = ((0..<11).map { $0 % 5 }, (0..<23).map { $0 % 4 })
        func metrics(_ blockSize: Int) -> RetrievalMetrics {
            RetrievalMetrics(
                queries: queries, queryLabels: queryLabels, gallery: gallery, galleryLabels: galleryLabels,
                metric: metric, blockSize: blockSize, ignoring: { ($0 + $1) % 7 == 0 })
        }
        let whole = metrics(256)
        #expect(metrics(1) == whole)
        #expect(metrics(3) == whole)
        // Label 4 is not in the gallery.
        #expect(whole.queriesWithoutPositives == 2)
    }

    @Test(arguments: SimilarityMetric.allCases) func numbersAreThoseOfTheScoreMatrix(metric: SimilarityMetric) {
        let queries = embeddings(17, 6, "more queries"), gallery = embeddings(31, 6, "more gallery")
        let (queryLabels, galleryLabels) = ((0..<17).map { $0 % 6 }, (0..<31).map { $0 % 5 })
        // One block, so that equal scores are equal in both.
        let metrics = RetrievalMetrics(
            queries: queries, queryLabels: queryLabels, gallery: gallery, galleryLabels: galleryLabels, metric: metric)
        let matrix = ScoreMetrics(
            scores: metric.scores(queries: queries, gallery: gallery), galleryLabels: galleryLabels,
            queryLabels: queryLabels)
        #expect(metrics.queries == 17 && metrics.gallery == 31)
        #expect(metrics.accuracy == matrix.accuracy())
        for k in [1, 2, 5, 10, 50] { #expect(metrics.recall(at: k) == matrix.topKAccuracy(k)) }
        #expect(abs(metrics.meanAveragePrecision - matrix.meanAveragePrecision()) < 1e-12)
        let best = matrix.precisionRecallCurves().map(\.maximalF1)
        func mean(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) } / Double(values.count) }
        #expect(abs(metrics.maximalF1.precision - mean(best.map(\.precision))) < 1e-12)
        #expect(abs(metrics.maximalF1.recall - mean(best.map(\.recall))) < 1e-12)
        #expect(abs(metrics.maximalF1.threshold - mean(best.map(\.threshold))) < 1e-12)
        #expect(abs(metrics.maximalF1.f1 - mean(best.map(\.f1))) < 1e-12)
        #expect(metrics.named["mAP"] == metrics.meanAveragePrecision)
        #expect(metrics.named["recall@5"] == metrics.recall(at: 5))
    }

    @Test func fourQueriesByHand() {
        let metrics = metrics(
            [
                // + - - + -: AP (1 + 2/4) / 2, of the first two one is right.
                [0.9, 0.3, 0.8, 0.1, 0.5],
                // - - + + -: AP (1/3 + 2/4) / 2, none of the first two.
                [0.7, 0.6, 0.5, 0.4, 0.3],
                // - + - - -: AP 1/2.
                [0.1, 0.2, 0.3, 0.4, 0.35],
                // No item has its label.
                [0.2, 0.1, 0.05, 0.15, 0],
            ], [0, 1, 2, 9], [0, 0, 1, 1, 2])
        func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) < 1e-6 }
        #expect(metrics.queriesWithoutPositives == 1)
        #expect(metrics.accuracy == 0.25)
        #expect(Array(metrics.cumulativeMatching.prefix(4)) == [0.25, 0.5, 0.75, 0.75])
        #expect(metrics.cumulativeMatching.count == 50 && metrics.cumulativeMatching.last == 0.75)
        #expect(isClose(metrics.meanAveragePrecision, (3 / 4.0 + 5 / 12.0 + 1 / 2.0) / 4))
        #expect(isClose(metrics.rPrecision, 0.5 / 4))
        #expect(isClose(metrics.meanAveragePrecisionAtR, 0.5 / 4))
        // The best F1 is 2/3 with a precision of 1/2 at full recall, for the first query also at its highest score; of
        // equal ones the lowest threshold counts.
        #expect(isClose(metrics.maximalF1.precision, 1.5 / 4))
        #expect(isClose(metrics.maximalF1.recall, 1))
        #expect(isClose(metrics.maximalF1.f1, 2 / 4.0))
        #expect(isClose(metrics.maximalF1.threshold, (0.3 + 0.4 + 0.35 + 0.2) / 4))
        // At any recall the highest precision from there on: 1, 1/2, 1/2, 0 up to a half.
        #expect(metrics.precisionAtRecall.count == 101)
        #expect(isClose(metrics.precisionAtRecall[0], 2 / 4.0))
        #expect(isClose(metrics.precisionAtRecall[50], 2 / 4.0))
        #expect(isClose(metrics.precisionAtRecall[51], 1.5 / 4))
        #expect(isClose(metrics.precisionAtRecall[100], 1.5 / 4))
    }

    /// The precision at R counts only right items among the first R.
    @Test func averagePrecisionAtRByHand() {
        // R = 3, - + +: (1/2 + 2/3) / 3; the third right item comes fourth.
        let metrics = metrics([[0.9, 0.8, 0.7, 0.6, 0.5]], [1], [0, 1, 1, 1, 0])
        #expect(abs(metrics.meanAveragePrecisionAtR - (1 / 2.0 + 2 / 3.0) / 3) < 1e-12)
        #expect(abs(metrics.rPrecision - 2 / 3.0) < 1e-12)
        #expect(abs(metrics.meanAveragePrecision - (1 / 2.0 + 2 / 3.0 + 3 / 4.0) / 3) < 1e-6)
    }

    /// Points 0, 1, 3, 4 on a line, labels 0, 0, 1, 0, each a query among the others.
    @Test func ignoredPairsByHand() {
        let points = Tensor([0, 1, 3, 4], shape: [4, 1]), labels = [0, 0, 1, 0]
        let metrics = RetrievalMetrics(
            queries: points, queryLabels: labels, gallery: points, galleryLabels: labels, metric: .squaredEuclidean,
            ignoring: { $0 == $1 })
        // 0: + - +, AP 5/6. 1: + - +, 5/6. 3: no other of its label. 4: - + +, 7/12.
        #expect(metrics.accuracy == 0.5)
        #expect(metrics.queriesWithoutPositives == 1)
        #expect(abs(metrics.meanAveragePrecision - (5 / 6.0 + 5 / 6.0 + 7 / 12.0) / 4) < 1e-6)
        #expect(abs(metrics.rPrecision - 1.5 / 4) < 1e-12)
        #expect(metrics.verification.positivePairs == 6 && metrics.verification.negativePairs == 6)
        let all = RetrievalMetrics(
            queries: points, queryLabels: labels, gallery: points, galleryLabels: labels, metric: .squaredEuclidean)
        #expect(all.accuracy == 1 && all.verification.positivePairs == 10)
    }

    /// A query for which nothing counts is one without positives.
    @Test func everythingMayBeIgnored() {
        let points = Tensor([0, 1, 3], shape: [3, 1])
        let metrics = RetrievalMetrics(
            queries: points, queryLabels: [0, 0, 1], gallery: points, galleryLabels: [0, 0, 1],
            metric: .euclidean, ignoring: { query, _ in query == 1 })
        #expect(metrics.queriesWithoutPositives == 1)
        #expect(metrics.accuracy == 2 / 3.0)
        #expect(metrics.verification.positivePairs == 3 && metrics.verification.negativePairs == 3)
    }

    /// 100 items of other labels with the scores 0, 0.01, …, 0.99 and 10 of the query's.
    @Test func acceptancesByHand() {
        let positives: [Float] = [0.095, 0.195, 0.295, 0.395, 0.495, 0.595, 0.695, 0.895, 0.985, 0.995]
        let metrics = metrics(
            [(0..<100).map { Float($0) / 100 } + positives], [1],
            [Int](repeating: 0, count: 100) + [Int](repeating: 1, count: 10))
        let verification = metrics.verification
        #expect(verification.positivePairs == 10 && verification.negativePairs == 100)
        // With 10 false acceptances (0.90 and more) there are 3 true ones, with 1 two, with none one.
        #expect(verification.acceptances.map(\.falseAcceptance) == [1e-1, 1e-2, 1e-3, 1e-4])
        #expect(verification.acceptances.map(\.trueAcceptance) == [0.3, 0.2, 0.1, 0.1])
        #expect(verification.acceptances.map { Float($0.threshold) } == [0.895, 0.985, 0.995, 0.995])
        // At 0.5, 50 of 100 others are accepted, and 5 of 10 are rejected.
        #expect(verification.equalErrorRate == 0.5)
        #expect(verification.equalErrorThreshold == 0.5)
        #expect(metrics.named["EER"] == verification.equalErrorRate)
        #expect(metrics.named["TAR@FAR=1e-2"] == 0.2)
        let curve = verification.curve
        #expect(curve.first?.trueAcceptance == 0 && curve.first?.falseAcceptance == 0)
        #expect(curve.last?.trueAcceptance == 1 && curve.last?.falseAcceptance == 1)
        for (a, b) in zip(curve, curve.dropFirst()) {
            #expect(a.falseAcceptance <= b.falseAcceptance && a.trueAcceptance <= b.trueAcceptance)
            #expect(a.threshold > b.threshold)
        }
        #expect(verification.histogram.positives.reduce(0, +) == 10)
        #expect(verification.histogram.negatives.reduce(0, +) == 100)
        #expect(verification.histogram.low == 0 && verification.histogram.high == Double(Float(0.995)))
    }

    @Test func equalErrorRatesByHand() {
        func rate(_ positives: [Float], _ negatives: [Float]) -> Double? {
            let labels = positives.map { _ in 1 } + negatives.map { _ in 0 }
            return metrics([positives + negatives], [1], labels).verification.equalErrorRate
        }
        // Accepting 0.4 and more: one of four is wrong, one of four is missed.
        #expect(rate([0.9, 0.8, 0.4, 0.2], [0.7, 0.3, 0.1, 0]) == 0.25)
        #expect(rate([0.9, 0.8], [0.3, 0.1]) == 0)
        #expect(rate([0.1], [0.9]) == 1)
        // All the same: half way between accepting all and none.
        #expect(rate([0.5, 0.5], [0.5, 0.5, 0.5]) == 0.5)
        // From (0, 1/2) to (1, 0), false acceptances and rejections, a third of the way: both 1/3.
        #expect(rate([0.9, 0.5], [0.5]).map { abs($0 - 1 / 3.0) < 1e-12 } == true)
    }

    /// All rates at all scores, one after the other.
    private func sortedRates(
        _ pairs: [(score: Float, isPositive: Bool)]
    ) -> [(wrong: Double, right: Double, threshold: Double)] {
        let positives = Double(pairs.count { $0.isPositive }), negatives = Double(pairs.count) - positives
        let scores = Set(pairs.map(\.score)).sorted(by: >)
        return [(0, 0, Double(scores[0].nextUp))]
            + scores.map { threshold in
                let accepted = pairs.filter { $0.score >= threshold }
                let right = Double(accepted.count { $0.isPositive })
                return ((Double(accepted.count) - right) / negatives, right / positives, Double(threshold))
            }
    }

    /// Kinds of scores for which bins of equal width, or those of a score's leading bits, are too wide.
    enum Scores: String, CaseIterable {
        case normal, crowdedWithOutliers, nearZero, fewValues, allEqual, zerosOfBothSigns

        func draw(using source: inout RandomSource) -> Float {
            switch self {
            case .normal: Float(source.normal())
            case .crowdedWithOutliers:
                source.uniform() < 0.02 ? Float(1e6 * source.normal()) : 0.7 + 1e-5 * Float(source.normal())
            case .nearZero: Float(source.normal()) * 1e-30
            case .fewValues: Float(source.index(below: 4)) / 8 - 0.25
            case .allEqual: 0.3
            case .zerosOfBothSigns: [0, -0.0, 1, -1][source.index(below: 4)]
            }
        }
    }

    @Test(arguments: Scores.allCases, [UInt64(1), 2, 3]) func ratesAreThoseOfAllSortedScores(
        kind: Scores, seed: UInt64
    ) throws {
        var source = RandomSource(seed: seed)
        let (queries, items) = (12, 60)
        let queryLabels = (0..<queries).map { $0 % 3 }, labels = (0..<items).map { $0 % 4 }
        // Positive pairs are shifted up by a little, so that the rates cross somewhere in the middle.
        let shift: Float = kind == .normal ? 1 : 0
        let scores = queryLabels.map { query in
            labels.map { kind.draw(using: &source) + (query == $0 ? shift : 0) }
        }
        let verification = RetrievalMetrics(
            queries: Tensor(scores.flatMap { $0 }, shape: [queries, items]), queryLabels: queryLabels,
            gallery: identity(items), galleryLabels: labels, blockSize: 5
        ).verification
        let pairs = scores.indices.flatMap { query in
            labels.indices.map { (score: scores[query][$0], isPositive: queryLabels[query] == labels[$0]) }
        }
        let all = sortedRates(pairs)
        #expect(verification.acceptances.map(\.falseAcceptance) == [1e-1, 1e-2, 1e-3, 1e-4])
        for acceptance in verification.acceptances {
            let best = try #require(all.last { $0.wrong <= acceptance.falseAcceptance })
            #expect(acceptance.trueAcceptance == best.right && acceptance.threshold == best.threshold)
        }
        let after = try #require(all.firstIndex { $0.wrong >= 1 - $0.right })
        let (a, b) = (all[after - 1], all[after])
        // How far the errors are apart, at both ends of the line between them.
        let (from, to) = (1 - a.right - a.wrong, b.wrong + b.right - 1)
        let part = from / (from + to)
        let (rate, threshold) = (
            try #require(verification.equalErrorRate), try #require(verification.equalErrorThreshold)
        )
        #expect(abs(rate - (a.wrong + part * (b.wrong - a.wrong))) < 1e-12)
        let expected = a.threshold + part * (b.threshold - a.threshold)
        #expect(abs(threshold - expected) <= 1e-12 * (abs(a.threshold) + abs(b.threshold)))
    }

    @Test func withoutPairsOfBothKindsThereAreNoRates() {
        for (positives, negatives) in [(3, 0), (0, 3)] {
            let labels = [Int](repeating: 1, count: positives) + [Int](repeating: 0, count: negatives)
            let metrics = metrics([[0.1, 0.5, 0.2]], [1], labels)
            let verification = metrics.verification
            #expect(verification.positivePairs == positives && verification.negativePairs == negatives)
            #expect(verification.equalErrorRate == nil && verification.equalErrorThreshold == nil)
            #expect(verification.acceptances.isEmpty && verification.curve.isEmpty)
            #expect(metrics.named["EER"] == nil && !metrics.named.keys.contains { $0.hasPrefix("TAR") })
            #expect(verification.histogram.positives.reduce(0, +) == positives)
        }
    }
}
