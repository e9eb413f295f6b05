import Foundation

extension EvaluationReport {
    /// Figures of one kind, named and formatted.
    struct Section {
        let title: String
        let rows: [(name: String, value: String)]
    }

    /// All figures, as the page and the terminal show them.
    var sections: [Section] {
        let percent = ReportText.percent
        let number = ReportText.number
        var recognition = [("accuracy", percent(metrics.accuracy))]
        for k in [1, 5, 10] { recognition.append(("recall@\(k)", percent(metrics.recall(at: k)))) }
        recognition += [
            ("queries", "\(metrics.queries)"), ("gallery", "\(metrics.gallery)"),
            ("queries without positives", "\(metrics.queriesWithoutPositives)"),
        ]
        let best = metrics.maximalF1
        let verification = metrics.verification
        var result = [
            Section(title: "Recognition", rows: recognition),
            Section(
                title: "Ranking",
                rows: [
                    ("mAP", percent(metrics.meanAveragePrecision)), ("mAP@R", percent(metrics.meanAveragePrecisionAtR)),
                    ("R-precision", percent(metrics.rPrecision)),
                ]),
            Section(
                title: "At the largest F1 of each query",
                rows: [
                    ("F1", percent(best.f1)), ("precision", percent(best.precision)), ("recall", percent(best.recall)),
                    ("threshold", number(best.threshold)),
                ]),
            Section(
                title: "Verification of all pairs",
                rows: [
                    ("equal error rate", percent(verification.equalErrorRate)),
                    ("its threshold", number(verification.equalErrorThreshold)),
                ] + verification.acceptances.map { ("TAR@FAR=\($0.name)", percent($0.trueAcceptance)) } + [
                    ("positive pairs", "\(verification.positivePairs)"),
                    ("negative pairs", "\(verification.negativePairs)"),
                ]),
        ]
        if let fewShot { result.append(fewShot.section) }
        return result
    }

    /// The report for the terminal: a table of names and values, without a line break at its end.
    public var summary: String {
        let parts = sections.map { section in (section.title, section.rows.map { ("  " + $0.name, $0.value) }) }
        let rows = parts.flatMap(\.1)
        let names = (rows.map(\.0.count) + description.map { $0.name.count + 2 }).max() ?? 0
        let values = rows.map(\.1.count).max() ?? 0
        func padding(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
        var lines = [title]
        lines += description.map { "  " + $0.name + padding(names - 2 - $0.name.count) + "  " + $0.value }
        for (title, rows) in parts {
            lines.append(title)
            lines += rows.map { name, value in
                name + padding(names - name.count) + "  " + padding(values - value.count) + value
            }
        }
        return lines.joined(separator: "\n")
    }
}

extension EvaluationReport.FewShotOutcome {
    fileprivate var section: EvaluationReport.Section {
        let groups = result.groups.count < 2 ? [] : result.groups.sorted { $0.key < $1.key }
        return EvaluationReport.Section(
            title: "Few-shot: \(settings.episodes) episodes",
            rows: [
                (
                    "\(settings.ways)-way \(settings.shots)-shot accuracy",
                    "\(ReportText.percent(result.accuracy)) ± \(ReportText.percent(result.confidence))"
                )
            ] + groups.map { (groupNames[$0.key] ?? "group \($0.key)", ReportText.percent($0.value)) })
    }
}

/// Numbers and texts as a report shows them.
enum ReportText {
    static func percent(_ part: Double) -> String { String(format: "%.2f %%", 100 * part) }

    /// Four significant digits, without zeros at the end.
    static func number(_ value: Double) -> String { String(format: "%.4g", value) }

    /// Text for an element or a quoted attribute; characters that a page cannot have become U+FFFD.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case "\t", "\n", "\r": result += " "
            case "\0"..<" ", "\u{7F}"..."\u{9F}", "\u{FFFE}", "\u{FFFF}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
