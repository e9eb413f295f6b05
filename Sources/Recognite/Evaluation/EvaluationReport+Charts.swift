import Foundation

extension EvaluationReport {
    /// The page's charts with their headings and explanations.
    var charts: [(heading: String, note: String, svg: String)] {
        [
            ("Precision and recall", "The mean of the queries' interpolated curves.", precisionRecallChart.svg),
            (
                "Receiver operating characteristic",
                metrics.verification.absence.map { "None: there are \($0)." }
                    ?? "Of all pairs of a query and an item; broken line: chance.", acceptanceChart.svg
            ),
            ("Cumulative matching", "Queries with an item of their label among the first k.", matchingChart.svg),
            (
                "Scores of pairs", "Positive pairs have one label, negative ones two; each kind sums to 100 %.",
                histogramChart.svg
            ),
        ]
    }

    private var precisionRecallChart: ReportChart {
        var chart = ReportChart(
            name: "Mean precision at each recall", x: .percent("recall"), y: .percent("precision"))
        let steps = Double(max(1, metrics.precisionAtRecall.count - 1))
        chart.addLine(metrics.precisionAtRecall.enumerated().map { (Double($0) / steps, $1) }, .main)
        return chart
    }

    private var acceptanceChart: ReportChart {
        let verification = metrics.verification
        // Rates below that of a single negative pair do not occur.
        let digits = Int(log10(Double(max(1, verification.negativePairs))).rounded(.up))
        let power = -min(6, max(2, digits))
        let low = pow(10, Double(power))
        var chart = ReportChart(
            name: "True acceptances at each rate of false acceptances",
            x: .logarithmic("false acceptances (logarithmic)", fromPower: power), y: .percent("true acceptances"))
        chart.addLine(
            (power * 10...0).map { index in
                let rate = pow(10, Double(index) / 10)
                return (rate, rate)
            }, .chance)
        guard let equal = verification.equalErrorRate else { return chart }
        let start = verification.curve.last { $0.falseAcceptance <= low }?.trueAcceptance ?? 0
        chart.addLine(
            [(low, start)]
                + verification.curve.filter { $0.falseAcceptance > low }.map {
                    ($0.falseAcceptance, $0.trueAcceptance)
                }, .main)
        chart.addPoint((equal, 1 - equal), legend: "equal error rate \(ReportText.percent(equal))")
        return chart
    }

    private var matchingChart: ReportChart {
        let last = max(2, min(metrics.cumulativeMatching.count, metrics.gallery))
        let parts = metrics.cumulativeMatching.prefix(last)
        let low = min(0.9, ((parts.first ?? 0) * 10).rounded(.down) / 10)
        // Ranks are whole and begin with 1.
        let step = last <= 10 ? 1 : last <= 20 ? 5 : 10
        let ticks = [1] + stride(from: step, through: last, by: step).filter { $0 > 1 }
        let x = ReportChart.Axis(title: "k", low: 1, high: Double(last), ticks: ticks.map { (Double($0), "\($0)") })
        var chart = ReportChart(
            name: "Queries with an item of their label among the first k", x: x,
            y: .percent("queries", from: max(0, low)))
        chart.addLine(parts.enumerated().map { (Double($0 + 1), $1) }, .main)
        return chart
    }

    private var histogramChart: ReportChart {
        let histogram = metrics.verification.histogram
        func parts(_ counts: [Int]) -> [Double] {
            let total = Double(max(1, counts.reduce(0, +)))
            return counts.map { 100 * Double($0) / total }
        }
        let positives = parts(histogram.positives), negatives = parts(histogram.negatives)
        let highest = max(positives.max() ?? 0, negatives.max() ?? 0)
        var chart = ReportChart(
            name: "Scores of positive and negative pairs",
            x: .linear("score", from: histogram.low, to: histogram.high),
            y: .linear("pairs (%)", from: 0, to: max(1e-9, highest * 1.15)))
        chart.addBars(negatives, .negative, legend: "negative")
        chart.addBars(positives, .positive, legend: "positive")
        if let threshold = metrics.verification.equalErrorThreshold {
            chart.addVertical(at: threshold, "equal errors at \(ReportText.number(threshold))")
        }
        return chart
    }
}
