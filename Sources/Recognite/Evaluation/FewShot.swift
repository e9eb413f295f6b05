import Tensors

/// N-way K-shot recognition: in each episode, some classes with a few references each are drawn, and other pictures of those
/// classes are given to the class whose references' mean is most similar.
public struct FewShot: Sendable, Codable, Hashable {
    /// Classes of an episode; those of a group with fewer are all taken, which ``Result/ways`` tells.
    public var ways: Int
    /// References of each class.
    public var shots: Int
    /// Pictures of each class to recognize.
    public var queries: Int
    public var episodes: Int
    public var seed: UInt64

    public init(ways: Int = 20, shots: Int = 1, queries: Int = 1, episodes: Int = 1000, seed: UInt64 = 0) {
        precondition(
            ways > 1 && shots > 0 && queries > 0 && episodes > 0,
            "FewShot: \(ways) ways, \(shots) shots, \(queries) queries, \(episodes) episodes")
        self.ways = ways
        self.shots = shots
        self.queries = queries
        self.episodes = episodes
        self.seed = seed
    }

    /// What came out.
    public struct Result: Sendable, Codable, Hashable {
        /// The mean over the episodes of the part of queries that were recognized.
        public let accuracy: Double
        /// Half of the 95 % confidence interval of that mean: 1.96 standard errors.
        public let confidence: Double
        /// The same for each group, by its number.
        public let groups: [Int: Double]
        /// The classes of an episode of each group, by its number: fewer than asked for where the group has no more.
        public let ways: [Int: Int]
    }

    /// Runs the episodes on embeddings.
    ///
    /// - Parameters:
    ///   - embeddings: `[N, D]`.
    ///   - labels: `[N]`.
    ///   - groups: the group of each label; an episode's classes are of one group, which takes its turn. `nil`: all labels
    ///     are one group.
    /// - Returns: `nil` if no group has two classes with `shots` + `queries` pictures.
    public func evaluate(
        embeddings: Tensor, labels: [Int], groups: [Int: Int]? = nil, metric: SimilarityMetric = .inner
    ) -> Result? {
        precondition(
            embeddings.rank == 2 && embeddings.shape[0] == labels.count,
            "FewShot: embeddings \(embeddings.shape) of \(labels.count) labels")
        var rows: [Int: [Int]] = [:]
        for (row, label) in labels.enumerated() { rows[label, default: []].append(row) }
        let usable = rows.keys.filter { rows[$0]!.count >= shots + queries }.sorted()
        let classes = Dictionary(grouping: usable) { groups?[$0] ?? 0 }.filter { $0.value.count > 1 }
        let names = classes.keys.sorted()
        guard !names.isEmpty else { return nil }
        var source = RandomSource(seed: seed)
        var outcomes: [Int: [Double]] = [:]
        for episode in 0..<episodes {
            let group = names[episode % names.count]
            let chosen = source.shuffled(classes[group]!).prefix(ways)
            var references: [Int] = [], asked: [Int] = []
            for label in chosen {
                let drawn = source.shuffled(rows[label]!)
                references += drawn.prefix(shots)
                asked += drawn.dropFirst(shots).prefix(queries)
            }
            outcomes[group, default: []].append(
                accuracy(embeddings, references: references, asked: asked, ways: chosen.count, metric))
        }
        // In a fixed order, so that the sums are the same in each run.
        let all = names.flatMap { outcomes[$0] ?? [] }
        let mean = all.reduce(0, +) / Double(all.count)
        let variance = all.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(1, all.count - 1))
        return Result(
            accuracy: mean, confidence: 1.96 * (variance / Double(all.count)).squareRoot(),
            groups: outcomes.mapValues { $0.reduce(0, +) / Double($0.count) },
            ways: Dictionary(uniqueKeysWithValues: outcomes.keys.map { ($0, min(ways, classes[$0]!.count)) }))
    }

    /// References and queries are sorted by class.
    private func accuracy(
        _ embeddings: Tensor, references: [Int], asked: [Int], ways: Int, _ metric: SimilarityMetric
    ) -> Double {
        let means = averageReferences(
            embeddings.rows(references), labels: references.indices.map { $0 / shots }
        ).embeddings
        let scores = metric.scores(queries: embeddings.rows(asked), gallery: means)
        return scores.withUnsafeScalars { scores in
            let hits = asked.indices.count { index in
                let row = scores[index * ways..<(index + 1) * ways]
                return row.indices.max { row[$0] < row[$1] }! - row.startIndex == index / queries
            }
            return Double(hits) / Double(asked.count)
        }
    }
}

extension Tensor {
    /// Some rows of a matrix.
    func rows(_ indices: [Int]) -> Tensor {
        let width = shape[1]
        return Tensor(shape: [indices.count, width]) { target in
            withUnsafeScalars { source in
                for (to, from) in indices.enumerated() {
                    for k in 0..<width { target[to * width + k] = source[from * width + k] }
                }
            }
        }
    }
}
