import Foundation

extension EvaluationReport {
    typealias Row = (name: String, value: String)

    /// Figures of one kind, named and formatted.
    struct Section {
        let title: String
        let rows: [Row]
    }

    /// All figures, as the page and the terminal show them.
    var sections: [Section] {
        func percent(_ name: String, _ value: Double) -> Row { (name, ReportText.percent(value)) }
        func count(_ name: String, _ value: Int) -> Row { (name, "\(value)") }
        var recognition = [percent("accuracy", metrics.accuracy)]
        recognition += [1, 5, 10].map { percent("recall@\($0)", metrics.recall(at: $0)) }
        recognition += [
            count("queries", metrics.queries), count("gallery", metrics.gallery),
            count("queries without positives", metrics.queriesWithoutPositives),
        ]
        let best = metrics.maximalF1
        let verification = metrics.verification
        var pairs: [Row] = []
        if let rate = verification.equalErrorRate, let threshold = verification.equalErrorThreshold {
            pairs += [percent("equal error rate", rate), ("its threshold", ReportText.number(threshold))]
        } else if let absence = verification.absence {
            pairs.append(("equal error rate", "none: \(absence)"))
        }
        pairs += verification.acceptances.map { percent("TAR@FAR=\($0.name)", $0.trueAcceptance) }
        pairs += [
            count("positive pairs", verification.positivePairs), count("negative pairs", verification.negativePairs),
        ]
        return [
            Section(title: "Recognition", rows: recognition),
            Section(
                title: "Ranking",
                rows: [
                    percent("mAP", metrics.meanAveragePrecision), percent("mAP@R", metrics.meanAveragePrecisionAtR),
                    percent("R-precision", metrics.rPrecision),
                ]),
            Section(
                title: "At the largest F1 of each query",
                rows: [
                    percent("F1", best.f1), percent("precision", best.precision), percent("recall", best.recall),
                    ("threshold", ReportText.number(best.threshold)),
                ]),
            Section(title: "Verification of all pairs", rows: pairs),
        ] + (fewShot.map { [$0.section] } ?? [])
    }

    /// The report for the terminal: a table of names and values, without a line break at its end.
    public var summary: String {
        let rows = sections.flatMap(\.rows) + description
        let names = rows.map(\.name.count).max() ?? 0
        let values = sections.flatMap(\.rows).map(\.value.count).max() ?? 0
        func padding(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
        var lines = [title]
        lines += description.map { "  " + $0.name + padding(names - $0.name.count) + "  " + $0.value }
        for section in sections {
            lines.append(section.title)
            lines += section.rows.map { row in
                "  " + row.name + padding(names - row.name.count + 2 + values - row.value.count) + row.value
            }
        }
        return lines.joined(separator: "\n")
    }
}

extension EvaluationReport.FewShotOutcome {
    /// The episodes' kind, such as "20-way 1-shot", or "5- to 20-way 1-shot" where some groups have fewer labels.
    var name: String {
        let ways = result.ways.values
        let (least, most) = (ways.min() ?? settings.ways, ways.max() ?? settings.ways)
        return (least < most ? "\(least)- to \(most)" : "\(most)") + "-way \(settings.shots)-shot"
    }

    fileprivate var section: EvaluationReport.Section {
        var rows: [EvaluationReport.Row] = [
            ("\(name) accuracy", "\(ReportText.percent(result.accuracy)) ± \(ReportText.percent(result.confidence))")
        ]
        let smaller = result.ways.filter { $0.value < settings.ways }
        if let (group, labels) = smaller.first {
            let only = (groupNames[group].map { "\($0): " } ?? "") + "\(labels) labels"
            let all = result.ways.count
            rows.append(
                ("fewer than \(settings.ways) labels", all == 1 ? only : "\(smaller.count) of \(all) groups"))
        }
        if result.groups.count > 1 {
            for (group, accuracy) in result.groups.sorted(by: { $0.key < $1.key }) {
                let name = groupNames[group] ?? "group \(group)"
                rows.append(
                    (smaller[group].map { "\(name) (\($0)-way)" } ?? name, ReportText.percent(accuracy)))
            }
        }
        return EvaluationReport.Section(title: "Few-shot, \(settings.episodes) episodes", rows: rows)
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
