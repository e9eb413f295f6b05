import Recognite
import TestSupport
import Testing

/// N-way K-shot recognition of embeddings whose accuracy is known.
@Suite struct FewShotTests {
    /// Unit vectors of the labels.
    private func perfect(_ labels: [Int], classes: Int) -> Tensor {
        let rows: [[Float]] = labels.map { label in (0..<classes).map { $0 == label ? 1 : 0 } }
        return Tensor(rows.flatMap { $0 }, shape: [labels.count, classes])
    }

    private func random(_ count: Int, _ size: Int, seed: UInt64) -> Tensor {
        var source = RandomSource(seed: seed)
        return Tensor((0..<count * size).map { _ in Float(source.normal()) }, shape: [count, size])
    }

    @Test(arguments: SimilarityMetric.allCases) func perfectEmbeddings(metric: SimilarityMetric) throws {
        let labels = (0..<60).map { $0 % 12 }
        let result = try #require(
            FewShot(ways: 5, shots: 2, queries: 3, episodes: 50, seed: 1).evaluate(
                embeddings: perfect(labels, classes: 12), labels: labels, metric: metric))
        #expect(result.accuracy == 1)
        #expect(result.confidence == 0)
        #expect(result.groups == [0: 1])
    }

    /// Embeddings that say nothing about the labels: one of ten is right.
    @Test func embeddingsOfNoise() throws {
        let labels = (0..<400).map { $0 % 20 }
        let result = try #require(
            FewShot(ways: 10, shots: 1, queries: 2, episodes: 1000, seed: 3).evaluate(
                embeddings: random(400, 16, seed: 5), labels: labels))
        #expect(abs(result.accuracy - 0.1) < 0.03)
        // 20 queries an episode: about sqrt(0.1 · 0.9 / 20) = 0.067 for one.
        #expect((0.003...0.006).contains(result.confidence))
    }

    /// More references make more right: noise around a class's own vector.
    @Test func moreShotsHelp() throws {
        let labels = (0..<200).map { $0 % 10 }
        let noise = random(200, 10, seed: 7).scalars
        let embeddings = Tensor(
            zip(perfect(labels, classes: 10).scalars, noise).map { 2 * $0 + $1 }, shape: [200, 10])
        func accuracy(_ shots: Int) throws -> Double {
            let result = FewShot(ways: 5, shots: shots, queries: 2, episodes: 400).evaluate(
                embeddings: embeddings, labels: labels, metric: .squaredEuclidean)
            return try #require(result).accuracy
        }
        let (many, one) = (try accuracy(10), try accuracy(1))
        #expect(many > one + 0.1)
    }

    /// Groups take turns, and an episode's classes are of one: in the first all is right, in the second one of five.
    @Test func groupsAreKeptApart() throws {
        // Labels 0 to 4 are one group; 5 to 9, whose embeddings are all the same, another.
        let labels = (0..<60).map { $0 % 10 }
        let scalars = perfect(labels, classes: 10).scalars.enumerated().map { index, value in
            labels[index / 10] < 5 ? value : 1
        }
        let groups = Dictionary(uniqueKeysWithValues: (0..<10).map { ($0, $0 < 5 ? 3 : 8) })
        let result = try #require(
            FewShot(ways: 20, shots: 1, queries: 2, episodes: 100).evaluate(
                embeddings: Tensor(scalars, shape: [60, 10]), labels: labels, groups: groups))
        #expect(Set(result.groups.keys) == [3, 8])
        #expect(result.groups[3] == 1)
        let same = try #require(result.groups[8])
        #expect(abs(same - 0.2) < 1e-12)
        #expect(abs(result.accuracy - 0.6) < 1e-12)
        // Half of the episodes are 0.4 above the mean, half below: 1.96 · sqrt(0.16 / 99).
        #expect(abs(result.confidence - 1.96 * (0.16 / 99).squareRoot()) < 1e-12)
        #expect(result.ways == [3: 5, 8: 5])
    }

    /// Three and five usable classes where four are asked for.
    @Test func groupsWithFewerClassesSaySo() throws {
        // One picture of label 8 is too few.
        let labels = (0..<24).map { $0 % 8 } + [8]
        let groups = Dictionary(uniqueKeysWithValues: (0..<9).map { ($0, $0 < 3 || $0 == 8 ? 1 : 2) })
        func result(_ ways: Int) throws -> FewShot.Result {
            try #require(
                FewShot(ways: ways, shots: 1, queries: 1, episodes: 20).evaluate(
                    embeddings: perfect(labels, classes: 9), labels: labels, groups: groups))
        }
        #expect(try result(4).ways == [1: 3, 2: 4])
        #expect(try result(3).ways == [1: 3, 2: 3])
        #expect(try result(20).ways == [1: 3, 2: 5])
    }

    /// Labels with too few pictures are left out, then groups with less than two labels.
    @Test func tooFewPictures() throws {
        let labels = [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
        let embeddings = perfect(labels, classes: 4)
        func result(_ shots: Int, _ queries: Int, _ groups: [Int: Int]? = nil) -> FewShot.Result? {
            FewShot(ways: 2, shots: shots, queries: queries, episodes: 30).evaluate(
                embeddings: embeddings, labels: labels, groups: groups)
        }
        #expect(result(2, 2) == nil)
        #expect(result(2, 1)?.accuracy == 1)
        #expect(result(1, 2, [0: 0, 1: 1, 2: 0, 3: 0])?.groups == [0: 1])
        #expect(result(1, 2, [0: 0, 1: 1, 2: 1, 3: 2]) == nil)
    }

    @Test func theSameSeedGivesTheSame() throws {
        let labels = (0..<100).map { $0 % 10 }
        let embeddings = random(100, 4, seed: 9)
        func result(_ seed: UInt64) -> FewShot.Result? {
            FewShot(ways: 5, shots: 1, queries: 1, episodes: 40, seed: seed).evaluate(
                embeddings: embeddings, labels: labels, groups: [0: 1, 1: 1, 2: 1, 3: 1])
        }
        let first = try #require(result(1))
        #expect(result(1) == first)
        #expect(result(2) != first)
        #expect(first.groups.count == 2)
    }
}
