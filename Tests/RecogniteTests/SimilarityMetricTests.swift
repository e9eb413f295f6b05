import Recognite
import TestSupport
import Testing

/// Score matrices against direct loops in double precision.
@Suite struct SimilarityMetricTests {
    private func direct(_ metric: SimilarityMetric, _ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
        let pairs = zip(a, b).map { (Double($0), Double($1)) }
        func product(_ body: ((Double, Double)) -> Double) -> Double { pairs.reduce(0) { $0 + body($1) } }
        switch metric {
        case .inner: return product { $0.0 * $0.1 }
        case .cosine:
            let norms = (product { $0.0 * $0.0 } * product { $0.1 * $0.1 }).squareRoot()
            return norms == 0 ? 0 : product { $0.0 * $0.1 } / norms
        case .euclidean: return -product { ($0.0 - $0.1) * ($0.0 - $0.1) }.squareRoot()
        case .squaredEuclidean: return -product { ($0.0 - $0.1) * ($0.0 - $0.1) }
        }
    }

    /// The largest error of scores over 1 plus the score.
    private func error(_ metric: SimilarityMetric, _ queries: Tensor, _ gallery: Tensor, _ scores: Tensor) -> Double {
        let (q, g, s) = (queries.scalars, gallery.scalars, scores.scalars)
        let depth = queries.shape[1], columns = gallery.shape[0]
        var worst = 0.0
        for row in 0..<queries.shape[0] {
            for column in 0..<columns {
                let expected = direct(
                    metric, q[row * depth..<(row + 1) * depth], g[column * depth..<(column + 1) * depth])
                let error = abs(Double(s[row * columns + column]) - expected) / (1 + abs(expected))
                worst = error.isNaN ? .infinity : max(worst, error)
            }
        }
        return worst
    }

    private func embeddings(_ count: Int, _ size: Int, _ key: String) -> Tensor {
        Tensor(ReferenceFill.signedUniform(count * size, key: key, salt: "similarity"), shape: [count, size])
    }

    /// The reference divides by norms along the wrong axis: its cosine fails unless there are as many rows as columns.
    @Test(arguments: SimilarityMetric.allCases) func scoresOfOddShapes(metric: SimilarityMetric) {
        let shapes = [(1, 1, 1), (1, 7, 3), (5, 1, 2), (3, 5, 7), (4, 4, 4), (6, 3, 130), (33, 17, 9)]
        for (rows, columns, depth) in shapes {
            let queries = embeddings(rows, depth, "queries"), gallery = embeddings(columns, depth, "gallery")
            let scores = metric.scores(queries: queries, gallery: gallery)
            #expect(scores.shape == [rows, columns])
            #expect(error(metric, queries, gallery, scores) < 2e-6, "\(metric), \(rows) x \(columns) x \(depth)")
        }
    }

    /// Long vectors that differ little: of |q|² + |g|² - 2 q·g no digit would be left.
    @Test func distancesOfNearEqualVectors() {
        let gallery = embeddings(3, 40, "near")
        let offsets = ReferenceFill.signedUniform(3 * 40, key: "offsets", salt: "similarity")
        for step: Float in [1e-1, 1e-3, 1e-5] {
            let far = Tensor(gallery.scalars.map { $0 + 100 }, shape: [3, 40])
            let near = Tensor(zip(far.scalars, offsets).map { $0 + step * $1 }, shape: [3, 40])
            let scores = SimilarityMetric.euclidean.scores(queries: near, gallery: far).scalars
            let squares = SimilarityMetric.squaredEuclidean.scores(queries: near, gallery: far).scalars
            let (q, g) = (near.scalars, far.scalars)
            for row in 0..<3 {
                let range = row * 40..<(row + 1) * 40
                let expected = direct(.euclidean, q[range], g[range])
                // 1e-5 is about the spacing of numbers at 100.
                #expect(abs(Double(scores[row * 4]) - expected) <= 1e-6 * abs(expected))
                #expect(abs(Double(squares[row * 4]) + expected * expected) <= 1e-6 * expected * expected)
            }
        }
    }

    @Test func vectorsOfZeros() {
        let queries = Tensor([0, 0, 3, 4], shape: [2, 2]), gallery = Tensor([0, 0, 6, 8, -4, 3], shape: [3, 2])
        let cosines = SimilarityMetric.cosine.scores(queries: queries, gallery: gallery).scalars
        #expect(zip(cosines, [0, 0, 0, 0, 1, 0]).allSatisfy { abs($0 - $1) < 1e-6 })
        #expect(
            SimilarityMetric.euclidean.scores(queries: queries, gallery: gallery).scalars
                == [0, -10, -5, -5, -5, -Float(50).squareRoot()])
        #expect(
            SimilarityMetric.squaredEuclidean.scores(queries: queries, gallery: gallery).scalars
                == [0, -100, -25, -25, -25, -50])
        #expect(SimilarityMetric.inner.scores(queries: queries, gallery: gallery).scalars == [0, 0, 0, 0, 50, 0])
    }

    @Test(arguments: SimilarityMetric.allCases) func blocksAreTheRowsOfTheScores(metric: SimilarityMetric) {
        let queries = embeddings(10, 5, "block queries"), gallery = embeddings(6, 5, "block gallery")
        for size in [1, 3, 5, 10, 64] {
            var firsts: [Int] = [], rows: [Float] = []
            metric.forEachBlock(queries: queries, gallery: gallery, blockSize: size) { first, scores in
                firsts.append(first)
                #expect(scores.shape == [min(size, 10 - first), 6])
                rows += scores.scalars
            }
            #expect(firsts == Array(stride(from: 0, to: 10, by: size)))
            #expect(rows.count == 60)
            #expect(error(metric, queries, gallery, Tensor(rows, shape: [10, 6])) < 2e-6, "\(metric), \(size)")
        }
    }

    /// The names are those of the reference's `score_matrix`.
    @Test func names() {
        #expect(SimilarityMetric.allCases.map(\.rawValue) == ["inner", "cosine", "euclid", "sq_euclid"])
    }
}
