import Tensors

/// How alike two embeddings are: more for those that are more alike. Distances are negated. The names are the reference's.
public enum SimilarityMetric: String, Sendable, Codable, CaseIterable {
    /// The inner product.
    case inner
    /// The inner product of the embeddings scaled to norm 1.
    case cosine
    /// Minus the Euclidean distance.
    case euclidean = "euclid"
    /// Minus its square.
    case squaredEuclidean = "sq_euclid"

    /// The scores of each query (rows) with each embedding of the gallery (columns).
    ///
    /// - Parameters:
    ///   - queries: `[Q, D]`.
    ///   - gallery: `[G, D]`.
    /// - Returns: `[Q, G]`.
    public func scores(queries: Tensor, gallery: Tensor) -> Tensor {
        precondition(
            queries.rank == 2 && gallery.rank == 2 && queries.shape[1] == gallery.shape[1],
            "SimilarityMetric: queries \(queries.shape), gallery \(gallery.shape)")
        return GradientMode.disabled {
            switch self {
            case .inner: queries.linear(gallery)
            case .cosine: queries.scaledToNormOne.linear(gallery.scaledToNormOne)
            case .squaredEuclidean: Self.negatedDistances(queries, gallery, squared: true)
            case .euclidean: Self.negatedDistances(queries, gallery, squared: false)
            }
        }
    }

    /// Calls `body` with the scores of some queries at a time, so that memory does not grow with queries times gallery.
    ///
    /// - Parameters:
    ///   - blockSize: queries of a block, at most.
    ///   - body: gets the first query of the block and its scores, `[B, G]`.
    public func forEachBlock(
        queries: Tensor, gallery: Tensor, blockSize: Int = 256, _ body: (_ first: Int, _ scores: Tensor) throws -> Void
    ) rethrows {
        precondition(blockSize > 0, "SimilarityMetric: blocks of \(blockSize) queries")
        // Once for all blocks.
        let gallery = self == .cosine ? gallery.scaledToNormOne : gallery
        let queries = self == .cosine ? queries.scaledToNormOne : queries
        let metric = self == .cosine ? .inner : self
        for first in stride(from: 0, to: queries.shape[0], by: blockSize) {
            let last = min(first + blockSize, queries.shape[0])
            try body(first, metric.scores(queries: queries.sliced(axis: 0, first..<last), gallery: gallery))
        }
    }

    /// |q - g|² = |q|² + |g|² - 2 q·g, and where too few digits of that are left, the sum of the squared differences.
    private static func negatedDistances(_ queries: Tensor, _ gallery: Tensor, squared: Bool) -> Tensor {
        let products = queries.linear(gallery)
        let depth = queries.shape[1], columns = gallery.shape[0]
        let queryNorms = squaredNorms(queries), galleryNorms = squaredNorms(gallery)
        return Tensor(shape: products.shape) { target in
            products.withUnsafeScalars { products in
                queries.withUnsafeScalars { q in
                    gallery.withUnsafeScalars { g in
                        for row in queryNorms.indices {
                            for column in 0..<columns {
                                let sum = queryNorms[row] + galleryNorms[column]
                                var square = sum - 2 * Double(products[row * columns + column])
                                // The product is off by some 1e-6 of the norms.
                                if square < 1e-2 * sum {
                                    square = 0
                                    for k in 0..<depth {
                                        let d = Double(q[row * depth + k]) - Double(g[column * depth + k])
                                        square += d * d
                                    }
                                }
                                target[row * columns + column] = -Float(squared ? square : square.squareRoot())
                            }
                        }
                    }
                }
            }
        }
    }

    private static func squaredNorms(_ x: Tensor) -> [Double] {
        let depth = x.shape[1]
        return x.withUnsafeScalars { x in
            (0..<x.count / max(1, depth)).map { row in
                x[row * depth..<(row + 1) * depth].reduce(0.0) { $0 + Double($1) * Double($1) }
            }
        }
    }
}

extension Tensor {
    /// Each row over its norm; a row of zeros stays.
    var scaledToNormOne: Tensor {
        let norms = norm()
        return self / Tensor(norms.scalars.map { $0 == 0 ? 1 : $0 }, shape: norms.shape)
    }
}
