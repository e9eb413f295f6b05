/// Pairs of both kinds, counted in 65,536 bins.
private struct PairCounts {
    static let bins = 1 << 16
    var positives = [Int](repeating: 0, count: bins)
    var negatives = [Int](repeating: 0, count: bins)

    mutating func add(_ bin: Int, isPositive: Bool) {
        if isPositive { positives[bin] += 1 } else { negatives[bin] += 1 }
    }

    /// The bins that are not empty, the highest first.
    var filled: [Int] { (0..<Self.bins).reversed().filter { positives[$0] + negatives[$0] > 0 } }
}

/// 32 bits that rise with a score and are equal for equal ones.
private struct ScoreKey {
    let bits: UInt32

    init(_ score: Float) {
        // The two zeros are equal; what is no number is accepted last.
        let pattern = (score.isNaN ? -.infinity : score + 0).bitPattern
        bits = pattern >> 31 == 0 ? pattern | 1 << 31 : ~pattern
    }

    init(upper: Int, lower: Int) { bits = UInt32(upper << 16 | lower) }

    var upper: Int { Int(bits >> 16) }
    var lower: Int { Int(bits & 0xFFFF) }
    var score: Float { Float(bitPattern: bits >> 31 == 1 ? bits ^ 1 << 31 : ~bits) }
}

/// What a first pass over the scores finds: their range, and how many pairs there are by the upper half of their
/// scores' bits, which tells where the thresholds of a ``Verification`` fall.
struct ScoreSurvey {
    /// The range of the finite scores.
    private(set) var low = Float.infinity
    private(set) var high = -Float.infinity
    private var counts = PairCounts()

    mutating func add(_ score: Float, isPositive: Bool) {
        if score.isFinite { (low, high) = (min(low, score), max(high, score)) }
        counts.add(ScoreKey(score).upper, isPositive: isPositive)
    }

    var positivePairs: Int { counts.positives.reduce(0, +) }
    var negativePairs: Int { counts.negatives.reduce(0, +) }

    /// The pairs with scores above a bin, and that bin.
    struct Start {
        let upper: Int
        let positives: Int
        let negatives: Int
    }

    /// The bins that the thresholds fall into, the highest first.
    ///
    /// - Parameter rates: of false acceptances.
    func decisiveBins(rates: [Double]) -> [Start] {
        let filled = counts.filled
        let (allPositives, allNegatives) = (Double(positivePairs), Double(negativePairs))
        var starts: [Start] = []
        // The first bin at whose end a condition holds, which goes on to hold.
        var equal: Int?
        var exceeding = [Int?](repeating: nil, count: rates.count)
        var (positives, negatives) = (0, 0)
        for (index, bin) in filled.enumerated() {
            starts.append(Start(upper: bin, positives: positives, negatives: negatives))
            positives += counts.positives[bin]
            negatives += counts.negatives[bin]
            let rate = Double(negatives) / allNegatives
            if equal == nil, rate >= 1 - Double(positives) / allPositives { equal = index }
            for (k, limit) in rates.enumerated() where exceeding[k] == nil && rate > limit { exceeding[k] = index }
        }
        // The last score before may be in the bin before.
        let crossings = [equal] + exceeding
        let chosen = Set(crossings.flatMap { index in index.map { [$0 - 1, $0] } ?? [filled.count - 1] })
        return starts.indices.filter(chosen.contains).map { starts[$0] }
    }
}

/// What a second pass makes of the scores. In the bins of the survey where a threshold falls, pairs are counted by the
/// lower half of their scores' bits, which leaves a bin for each score: the rates there are those of the sorted scores,
/// and memory does not depend on the number of pairs, however many are equal. All pairs are counted in 65,536 bins of
/// equal width too, for the curve and the chart.
struct ScoreHistogram {
    private static let rates = [1e-1, 1e-2, 1e-3, 1e-4]

    /// The range of the bins of equal width; not empty.
    private let low: Float
    private let high: Float
    private let highest: Float
    private let positivePairs: Int
    private let negativePairs: Int
    private let decisive: [ScoreSurvey.Start]
    /// Of each decisive bin.
    private var exact: [PairCounts]
    /// The place of each upper half among the decisive bins; -1 for all others.
    private var places = [Int](repeating: -1, count: PairCounts.bins)
    private var even = PairCounts()

    init(_ survey: ScoreSurvey) {
        let base = survey.low.isFinite ? survey.low : 0
        (low, high) = survey.low < survey.high ? (survey.low, survey.high) : (base, base + 1)
        highest = survey.high
        (positivePairs, negativePairs) = (survey.positivePairs, survey.negativePairs)
        let hasBoth = positivePairs > 0 && negativePairs > 0
        decisive = hasBoth ? survey.decisiveBins(rates: Self.rates) : []
        exact = decisive.map { _ in PairCounts() }
        for (place, start) in decisive.enumerated() { places[start.upper] = place }
    }

    mutating func add(_ score: Float, isPositive: Bool) {
        let key = ScoreKey(score)
        let place = places[key.upper]
        if place >= 0 { exact[place].add(key.lower, isPositive: isPositive) }
        let part = (score - low) / (high - low) * Float(PairCounts.bins)
        let bin = part.isNaN ? 0 : Int(min(max(part, 0), Float(PairCounts.bins - 1)))
        even.add(bin, isPositive: isPositive)
    }

    var verification: Verification {
        guard positivePairs > 0, negativePairs > 0 else {
            return Verification(
                positivePairs: positivePairs, negativePairs: negativePairs, equalErrorRate: nil,
                equalErrorThreshold: nil, acceptances: [], curve: [], histogram: coarse)
        }
        let points = exactPoints
        let equal = Self.equalError(points)
        let acceptances = Self.rates.map { rate in
            let best = points.last { $0.falseAcceptance <= rate }!
            return Verification.Acceptance(
                falseAcceptance: rate, trueAcceptance: best.trueAcceptance, threshold: best.threshold)
        }
        return Verification(
            positivePairs: positivePairs, negativePairs: negativePairs, equalErrorRate: equal.rate,
            equalErrorThreshold: equal.threshold, acceptances: acceptances, curve: Self.thinned(evenPoints),
            histogram: coarse)
    }

    private func point(_ positives: Int, _ negatives: Int, _ threshold: Double) -> Verification.Acceptance {
        .init(
            falseAcceptance: Double(negatives) / Double(negativePairs),
            trueAcceptance: Double(positives) / Double(positivePairs), threshold: threshold)
    }

    /// Nothing is accepted above the highest score.
    private var start: Verification.Acceptance { point(0, 0, Double(highest.nextUp)) }

    /// The rates with the threshold at each score of the decisive bins, the highest first.
    private var exactPoints: [Verification.Acceptance] {
        var points = [start]
        for (start, counts) in zip(decisive, exact) {
            var (positives, negatives) = (start.positives, start.negatives)
            for lower in counts.filled {
                positives += counts.positives[lower]
                negatives += counts.negatives[lower]
                let threshold = ScoreKey(upper: start.upper, lower: lower).score
                points.append(point(positives, negatives, Double(threshold)))
            }
        }
        return points
    }

    /// The rates with the threshold at the lower bound of each bin of equal width, the highest first.
    private var evenPoints: [Verification.Acceptance] {
        var points = [start]
        var (positives, negatives) = (0, 0)
        for bin in even.filled {
            positives += even.positives[bin]
            negatives += even.negatives[bin]
            let threshold = Double(low) + Double(high - low) * Double(bin) / Double(PairCounts.bins)
            points.append(point(positives, negatives, threshold))
        }
        return points
    }

    /// Where false acceptances reach false rejections, on the line between the two points around it.
    private static func equalError(_ points: [Verification.Acceptance]) -> (rate: Double, threshold: Double) {
        let (before, after) = zip(points, points.dropFirst()).first {
            $1.falseAcceptance >= 1 - $1.trueAcceptance
        }!
        let from = 1 - before.trueAcceptance - before.falseAcceptance
        let to = after.falseAcceptance - (1 - after.trueAcceptance)
        let part = from / (from + to)
        return (
            before.falseAcceptance + part * (after.falseAcceptance - before.falseAcceptance),
            before.threshold + part * (after.threshold - before.threshold)
        )
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
        let count = 64, width = PairCounts.bins / count
        func sums(_ fine: [Int]) -> [Int] {
            (0..<count).map { fine[$0 * width..<($0 + 1) * width].reduce(0, +) }
        }
        return Verification.Histogram(
            low: Double(low), high: Double(high), positives: sums(even.positives), negatives: sums(even.negatives))
    }
}
