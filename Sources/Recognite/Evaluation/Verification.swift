/// Whether pairs are of one label, decided by a threshold on their scores: over all pairs of an evaluation.
public struct Verification: Sendable, Codable, Hashable {
    public let positivePairs: Int
    public let negativePairs: Int
    /// The error rate at the threshold where false acceptances and false rejections are equally frequent, and that
    /// threshold.
    public let equalErrorRate: Double
    public let equalErrorThreshold: Double
    /// The true acceptances at some rates of false ones.
    public let acceptances: [Acceptance]
    /// The receiver operating characteristic, some points of it in rising order of false acceptances.
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
}

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Counts of scores in 65,536 bins between the lowest and the highest one: rates read off it are exact for thresholds at
/// the bins' bounds, a bin being 0.00003 wide for cosines.
struct ScoreHistogram {
    private let low: Float
    private let high: Float
    private var positives = [Int](repeating: 0, count: Self.bins)
    private var negatives = [Int](repeating: 0, count: Self.bins)
    private static let bins = 1 << 16

    init(low: Float, high: Float) {
        (self.low, self.high) = low < high ? (low, high) : (low.isFinite ? low : 0, (low.isFinite ? low : 0) + 1)
    }

    mutating func add(_ score: Float, isPositive: Bool) {
        let part = (score - low) / (high - low) * Float(Self.bins)
        let bin = part.isNaN ? 0 : Int(min(max(part, 0), Float(Self.bins - 1)))
        if isPositive { positives[bin] += 1 } else { negatives[bin] += 1 }
    }

    private func threshold(_ bin: Int) -> Double { Double(low) + Double(high - low) * Double(bin) / Double(Self.bins) }

    var verification: Verification {
        let positivePairs = positives.reduce(0, +), negativePairs = negatives.reduce(0, +)
        // The rates with the threshold at each bin's lower bound, the highest bin first.
        var points: [Verification.Acceptance] = [
            .init(falseAcceptance: 0, trueAcceptance: 0, threshold: threshold(Self.bins))
        ]
        var (accepted, wrong) = (0, 0)
        for bin in (0..<Self.bins).reversed() where positives[bin] + negatives[bin] > 0 {
            accepted += positives[bin]
            wrong += negatives[bin]
            points.append(
                .init(
                    falseAcceptance: Double(wrong) / Double(max(1, negativePairs)),
                    trueAcceptance: Double(accepted) / Double(max(1, positivePairs)), threshold: threshold(bin)))
        }
        let equal = Self.equalError(points)
        let rates = [1e-1, 1e-2, 1e-3, 1e-4]
        let acceptances = rates.map { rate in
            let best = points.last { $0.falseAcceptance <= rate }!
            return Verification.Acceptance(
                falseAcceptance: rate, trueAcceptance: best.trueAcceptance, threshold: best.threshold)
        }
        return Verification(
            positivePairs: positivePairs, negativePairs: negativePairs, equalErrorRate: equal.rate,
            equalErrorThreshold: equal.threshold, acceptances: acceptances, curve: Self.thinned(points),
            histogram: coarse)
    }

    /// Where false acceptances reach false rejections, on the line between the two points around it.
    private static func equalError(_ points: [Verification.Acceptance]) -> (rate: Double, threshold: Double) {
        for (before, after) in zip(points, points.dropFirst())
        where after.falseAcceptance >= 1 - after.trueAcceptance {
            let from = 1 - before.trueAcceptance - before.falseAcceptance
            let to = after.falseAcceptance - (1 - after.trueAcceptance)
            let part = from + to == 0 ? 0 : from / (from + to)
            return (
                before.falseAcceptance + part * (after.falseAcceptance - before.falseAcceptance),
                before.threshold + part * (after.threshold - before.threshold)
            )
        }
        return (0, points.last!.threshold)
    }

    /// At most some hundred points, each a little away from the one before.
    private static func thinned(_ points: [Verification.Acceptance]) -> [Verification.Acceptance] {
        var kept: [Verification.Acceptance] = []
        for point in points {
            guard let last = kept.last else {
                kept.append(point)
                continue
            }
            let isFar =
                abs(point.trueAcceptance - last.trueAcceptance) >= 0.005
                || abs(point.falseAcceptance - last.falseAcceptance) >= 0.005
                || point.falseAcceptance > 2 * last.falseAcceptance
            if isFar { kept.append(point) }
        }
        if let last = points.last, kept.last != last { kept.append(last) }
        return kept
    }

    private var coarse: Verification.Histogram {
        let count = 64, width = Self.bins / count
        func sums(_ fine: [Int]) -> [Int] {
            (0..<count).map { fine[$0 * width..<($0 + 1) * width].reduce(0, +) }
        }
        return Verification.Histogram(
            low: Double(low), high: Double(high), positives: sums(positives), negatives: sums(negatives))
    }
}
