import Foundation
import Imaging

extension EvaluationReport {
    /// The page: style, charts and pictures are in it, and every element is closed as XML wants it.
    var html: String {
        let text = ReportText.escaped
        var parts = [
            """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8"/>
            <meta name="viewport" content="width=device-width, initial-scale=1"/>
            <title>\(text(title))</title>
            <style>
            \(Self.style)
            </style>
            </head>
            <body>
            <main>
            <h1>\(text(title))</h1>
            """
        ]
        if !description.isEmpty { parts.append(Self.table(description, name: "facts")) }
        parts.append(headline)
        parts.append("<h2>Metrics</h2>\n<div class=\"cards\">")
        for section in sections {
            parts.append("<section class=\"card\">\n<h3>\(text(section.title))</h3>")
            parts.append(Self.table(section.rows, name: "figures") + "\n</section>")
        }
        parts.append("</div>\n<h2>Curves</h2>\n<div class=\"charts\">")
        for chart in charts {
            parts.append(
                "<section class=\"card\">\n<h3>\(text(chart.heading))</h3>\n<p>\(text(chart.note))</p>\n\(chart.svg)\n"
                    + "</section>")
        }
        parts.append("</div>")
        var pictures = ReportPictures()
        parts.append(
            Self.retrievals(
                worst, heading: "Worst retrievals",
                note: "Queries whose first item is wrong, the lowest rank of the first correct one first.", &pictures))
        parts.append(
            Self.retrievals(
                best, heading: "Best retrievals",
                note: "Queries with the largest margins between the first correct item and the first wrong one.",
                &pictures))
        parts.append("</main>\n</body>\n</html>\n")
        return parts.filter { !$0.isEmpty }.joined(separator: "\n")
    }

    /// The figures that are asked for first.
    private var headline: String {
        var rows: [Row] = []
        if let fewShot { rows.append((fewShot.name, ReportText.percent(fewShot.result.accuracy))) }
        rows += [
            ("accuracy", ReportText.percent(metrics.accuracy)),
            ("mAP", ReportText.percent(metrics.meanAveragePrecision)),
            ("recall@5", ReportText.percent(metrics.recall(at: 5))),
        ]
        if let rate = metrics.verification.equalErrorRate {
            rows.append(("equal error rate", ReportText.percent(rate)))
        }
        let items = rows.map {
            "<div><strong>\(ReportText.escaped($0.value))</strong><span>\(ReportText.escaped($0.name))</span></div>"
        }
        return "<div class=\"headline\">\n\(items.joined(separator: "\n"))\n</div>"
    }

    private static func table(_ rows: [Row], name: String) -> String {
        let lines = rows.map {
            "<tr><th scope=\"row\">\(ReportText.escaped($0.name))</th><td>\(ReportText.escaped($0.value))</td></tr>"
        }
        return "<table class=\"\(name)\">\n\(lines.joined(separator: "\n"))\n</table>"
    }

    private static func retrievals(
        _ retrievals: [Retrieval], heading: String, note: String, _ pictures: inout ReportPictures
    ) -> String {
        guard !retrievals.isEmpty else { return "" }
        var parts = ["<h2>\(heading)</h2>\n<p>\(note)</p>"]
        for retrieval in retrievals {
            parts.append("<div class=\"retrieval\">")
            parts.append(
                figure(
                    pictures.element(of: retrieval.queryPath), label: retrieval.queryLabel, detail: "query",
                    kind: "query"))
            for item in retrieval.items {
                parts.append(
                    figure(
                        pictures.element(of: item.path), label: item.label,
                        detail: "#\(item.rank) \(item.isCorrect ? "✓" : "✗") "
                            + String(format: "%.3f", Double(item.score)), kind: item.isCorrect ? "right" : "wrong"))
            }
            parts.append("</div>")
        }
        return parts.joined(separator: "\n")
    }

    private static func figure(_ picture: String, label: String, detail: String, kind: String) -> String {
        let label = ReportText.escaped(label)
        return "<figure class=\"\(kind)\">\(picture)<figcaption><span title=\"\(label)\">\(label)</span>"
            + "<span>\(ReportText.escaped(detail))</span></figcaption></figure>"
    }
}

/// Pictures of a page, each read and shrunk once.
private struct ReportPictures {
    private var elements: [String: String] = [:]
    private static let side = 96

    /// The picture in the page itself; a box with the file's name if it cannot be read.
    mutating func element(of path: String) -> String {
        if let known = elements[path] { return known }
        let name = ReportText.escaped((path as NSString).lastPathComponent)
        let element: String
        if let data = Self.thumbnail(path) {
            element = "<img alt=\"\(name)\" src=\"data:image/png;base64,\(data)\"/>"
        } else {
            element = "<span class=\"missing\">\(name)</span>"
        }
        elements[path] = element
        return element
    }

    /// A PNG file in base 64, no side longer than 96 pixels.
    private static func thumbnail(_ path: String) -> String? {
        guard let picture = try? RGBImage(contentsOf: path) else { return nil }
        let scale = Double(side) / Double(max(picture.width, picture.height))
        func length(_ full: Int) -> Int { max(1, Int((Double(full) * scale).rounded())) }
        let small =
            scale < 1
            ? picture.resized(to: .exact(height: length(picture.height), width: length(picture.width))) : picture
        return (try? PNGEncoder.encode(small)).map { Data($0).base64EncodedString() }
    }
}
