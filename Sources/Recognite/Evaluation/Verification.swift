#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Whether pairs are of one label, decided by a threshold on their scores: over all pairs of an evaluation.
public struct Verification: Sendable, Codable, Hashable {
    public let positivePairs: Int
    public let negativePairs: Int
    /// The error rate at the threshold where false acceptances and false rejections are equally frequent, and that
    /// threshold: on the line between the two scores around it where no score has both equal. `nil` without pairs of
    /// both kinds, which no rate can be told from.
    public let equalErrorRate: Double?
    public let equalErrorThreshold: Double?
    /// The most true acceptances at some rates of false ones, exactly; none without pairs of both kinds.
    public let acceptances: [Acceptance]
    /// The receiver operating characteristic, some points of it in rising order of false acceptances; none without
    /// pairs of both kinds.
    public let curve: [Acceptance]
    /// The scores of both kinds of pairs, counted between the lowest and the highest score.
    public let histogram: Histogram

    /// The rates at one threshold: pairs of this score or more are accepted.
    public struct Acceptance: Sendable, Codable, Hashable {
        public let falseAcceptance: Double
        public let trueAcceptance: Double
        public let threshold: Double

        /// The rate of false acceptances as a power of ten.
        var name: String { "1e-\(Int((-log10(falseAcceptance)).rounded()))" }
    }

    public struct Histogram: Sendable, Codable, Hashable {
        public let low: Double
        public let high: Double
        /// Counts in bins of equal width.
        public let positives: [Int]
        public let negatives: [Int]
    }

    /// Why there are no rates; `nil` if there are.
    var absence: String? {
        switch (positivePairs, negativePairs) {
        case (0, 0): "no pairs"
        case (0, _): "no positive pairs"
        case (_, 0): "no negative pairs"
        default: nil
        }
    }
}
