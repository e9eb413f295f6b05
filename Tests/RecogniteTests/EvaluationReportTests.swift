import Foundation
import Recognite
import TestSupport
import Testing

#if canImport(FoundationXML)
    import FoundationXML
#endif

/// The report of an evaluation: its page, its figures, its table, and the retrievals that it shows.
@Suite struct EvaluationReportTests {
    /// Embeddings in the plane, by degrees: a metric of angles.
    private static func embeddings(_ degrees: [Double]) -> Tensor {
        Tensor(
            degrees.flatMap { [Float(cos($0 * .pi / 180)), Float(sin($0 * .pi / 180))] }, shape: [degrees.count, 2])
    }

    private static func table(_ labels: [String], prefix: String) -> ImageTable {
        ImageTable(rows: labels.enumerated().map { .init(path: "\(prefix)\($0).png", label: $1) })
    }

    private static let queries = embeddings([0, 20, 31, 80])
    private static let queryLabels = [0, 0, 0, 1]
    private static let gallery = embeddings([1, 50, 90])
    private static let galleryLabels = [0, 1, 1]

    private static var metrics: RetrievalMetrics {
        RetrievalMetrics(
            queries: queries, queryLabels: queryLabels, gallery: gallery, galleryLabels: galleryLabels)
    }

    private static func report(pictures folder: String = "missing") -> EvaluationReport {
        let item = EvaluationReport.Retrieval.Item(
            path: folder + "/a.png", label: "<&\">'", score: 0.5, isCorrect: false, rank: 1)
        let lost = EvaluationReport.Retrieval.Item(
            path: folder + "/lost.png", label: "b\u{1}", score: 0.25, isCorrect: true, rank: 12)
        let retrieval = EvaluationReport.Retrieval(
            queryPath: folder + "/a.png", queryLabel: "<&\">'", items: [item, lost])
        return EvaluationReport(
            title: "Of <&\">", description: [("model", "a & b"), ("data", "c")], metrics: metrics,
            fewShot: .init(
                settings: FewShot(ways: 2, episodes: 10),
                result: FewShot(ways: 2, episodes: 10).evaluate(
                    embeddings: embeddings([0, 1, 90, 91, 0, 2, 88, 90]), labels: [0, 0, 1, 1, 2, 2, 3, 3],
                    groups: [0: 0, 1: 0, 2: 1, 3: 1])!, groupNames: [0: "Greek", 1: "Latin"]),
            best: [], worst: [retrieval])
    }

    /// The elements of a page in its order, with their attributes, and its text.
    private final class Page: NSObject, XMLParserDelegate {
        var elements: [(name: String, attributes: [String: String])] = []
        var text = ""

        init(_ html: String) throws {
            super.init()
            let parser = XMLParser(data: Data(html.utf8))
            parser.delegate = self
            try #require(parser.parse(), "line \(parser.lineNumber): \(String(describing: parser.parserError))")
        }

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
            attributes: [String: String]
        ) { elements.append((name, attributes)) }

        func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }

        func all(_ name: String) -> [[String: String]] { elements.filter { $0.name == name }.map(\.attributes) }
    }

    private static func html(of report: EvaluationReport) throws -> String {
        try withTemporaryFolder { folder in
            try report.write(to: folder + "/deep/report")
            return try String(contentsOfFile: folder + "/deep/report/index.html", encoding: .utf8)
        }
    }

    @Test func pageIsWellFormedAndNeedsNothingElse() throws {
        let html = try Self.html(of: Self.report())
        let page = try Page(html)
        #expect(html.hasPrefix("<!DOCTYPE html>"))
        for outside in ["http://", "https://", "<script", "<link", "url(", "@import"] {
            #expect(!html.contains(outside), "\(outside)")
        }
        #expect(page.all("svg").count == 4)
        #expect(page.all("polyline").allSatisfy { ($0["points"] ?? "").contains(",") })
        #expect(page.all("polygon").count == 2)
        #expect(!html.contains("nan") && !html.contains("inf,"))
        for text in ["Of <&\">", "a & b", "accuracy", "mAP@R", "TAR@FAR=1e-3", "2-way 1-shot", "Greek", "Latin"] {
            #expect(page.text.contains(text), "\(text)")
        }
    }

    @Test func textsAreEscaped() throws {
        let html = try Self.html(of: Self.report())
        #expect(html.contains("&lt;&amp;&quot;&gt;&#39;"))
        #expect(!html.contains("<&"))
        let titles = try Page(html).all("span").compactMap { $0["title"] }
        #expect(titles == ["<&\">'", "<&\">'", "b\u{FFFD}"])
    }

    @Test func picturesAreInThePageOrBoxesWithTheirNames() throws {
        let html = try withTemporaryFolder { folder in
            let picture = RGBImage(width: 300, height: 150, filledWith: [200, 100, 50])
            try Data(PNGEncoder.encode(picture)).write(to: URL(filePath: folder + "/a.png"))
            try Data("no picture".utf8).write(to: URL(filePath: folder + "/lost.png"))
            return try Self.html(of: Self.report(pictures: folder))
        }
        let page = try Page(html)
        let sources = page.all("img").compactMap { $0["src"] }
        try #require(sources.count == 2)
        for source in sources {
            let start = "data:image/png;base64,"
            try #require(source.hasPrefix(start))
            let bytes = try #require(Data(base64Encoded: String(source.dropFirst(start.count))))
            let thumbnail = try RGBImage(decoding: [UInt8](bytes))
            #expect(thumbnail.width == 96 && thumbnail.height == 48)
            #expect(thumbnail[x: 40, y: 20] == [200, 100, 50])
        }
        #expect(page.all("span").count { $0["class"] == "missing" } == 1)
        #expect(html.contains("<span class=\"missing\">lost.png</span>"))
        #expect(page.all("figure").compactMap { $0["class"] } == ["query", "wrong", "right"])
        #expect(page.text.contains("#12 ✓ 0.250"))
    }

    @Test func figuresComeBackFromTheFile() throws {
        let report = Self.report()
        try withTemporaryFolder { folder in
            try report.write(to: folder)
            let data = try Data(contentsOf: URL(filePath: folder + "/metrics.json"))
            let figures = try JSONDecoder().decode(EvaluationReport.Figures.self, from: data)
            #expect(figures == report.figures)
            #expect(figures.retrieval == Self.metrics)
            #expect(figures.fewShot?.groupNames == [0: "Greek", 1: "Latin"])
            #expect(figures.description == ["model": "a & b", "data": "c"])
            #expect(String(decoding: data, as: UTF8.self) == (try report.json()) + "\n")
            let files = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(files.sorted() == ["index.html", "metrics.json"])
        }
    }

    @Test func folderThatCannotBeIsNamed() throws {
        try withTemporaryFolder { folder in
            try Data().write(to: URL(filePath: folder + "/file"))
            #expect {
                try Self.report().write(to: folder + "/file/report")
            } throws: { error in
                error is FileError && "\(error)".contains("file/report")
            }
        }
    }

    @Test func summaryIsAligned() throws {
        let lines = Self.report().summary.split(separator: "\n").map(String.init)
        #expect(lines.first == "Of <&\">")
        let accuracy = try #require(lines.first { $0.contains("accuracy") })
        // Of the queries at 0, 20, 31 and 80 degrees, the one at 31 is nearer to 50 than to 1.
        #expect(accuracy.hasPrefix("  accuracy ") && accuracy.hasSuffix(" 75.00 %"), "\(accuracy)")
        let figures = lines.drop { $0 != "Recognition" }.filter { $0.hasPrefix("  ") }
        #expect(figures.count > 15)
        #expect(Set(figures.map(\.count)).count == 1)
        #expect(lines.contains { $0.contains("2-way 1-shot accuracy") && $0.contains(" ± ") })
    }

    /// Rates that nothing tells are neither 0 nor 1, and the reason is given.
    @Test(arguments: [([0, 0], [0], "no negative pairs"), ([0, 0], [1], "no positive pairs")])
    func ratesWithoutPairsOfBothKindsAreAbsent(gallery: [Int], queries: [Int], reason: String) throws {
        let report = EvaluationReport(
            title: "One kind",
            metrics: RetrievalMetrics(
                queries: Self.embeddings([0]), queryLabels: queries, gallery: Self.embeddings([1, 50]),
                galleryLabels: gallery))
        let line = try #require(report.summary.split(separator: "\n").first { $0.contains("equal error rate") })
        #expect(line.hasSuffix("none: \(reason)"))
        #expect(!report.summary.contains("TAR@FAR"))
        let html = try Self.html(of: report)
        let page = try Page(html)
        #expect(page.text.contains("None: there are \(reason)."))
        #expect(!page.text.contains("equal errors at") && !html.contains("nan"))
        #expect(page.all("polyline").allSatisfy { ($0["points"] ?? "").contains(",") })
        let json = try report.json()
        #expect(!json.contains("equalErrorRate"))
        #expect(try JSONDecoder().decode(EvaluationReport.Figures.self, from: Data(json.utf8)) == report.figures)
    }

    /// Episodes of fewer labels than asked for are not shown as if they had so many.
    @Test func groupsWithFewerLabelsAreNamed() throws {
        func report(_ groups: [Int: Int], names: [Int: String]) throws -> EvaluationReport {
            let settings = FewShot(ways: 3, episodes: 10)
            let result = settings.evaluate(
                embeddings: Self.embeddings([0, 1, 90, 91, 0, 2, 88, 90, 45, 46]),
                labels: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], groups: groups)
            return EvaluationReport(
                title: "Groups", metrics: Self.metrics,
                fewShot: .init(settings: settings, result: try #require(result), groupNames: names))
        }
        let two = try report([0: 0, 1: 0, 2: 1, 3: 1, 4: 1], names: [0: "Greek", 1: "Latin"])
        for text in ["2- to 3-way 1-shot accuracy", "fewer than 3 labels", "1 of 2 groups", "Greek (2-way)"] {
            #expect(two.summary.contains(text), "\(two.summary)")
        }
        #expect(!two.summary.contains("Latin ("))
        let page = try Page(Self.html(of: two))
        #expect(page.text.contains("Greek (2-way)") && page.text.contains("2- to 3-way 1-shot"))
        // Label 4 is alone in its group.
        let one = try report([0: 0, 1: 0, 2: 1, 3: 2, 4: 3], names: [0: "Greek"])
        #expect(one.summary.contains("2-way 1-shot accuracy") && one.summary.contains("Greek: 2 labels"))
        let full = try report([:], names: [:])
        #expect(full.summary.contains("3-way 1-shot accuracy") && !full.summary.contains("fewer than"))
    }

    @Test(arguments: [1, 256]) func choosesTheClearestAndTheWorst(blockSize: Int) throws {
        // The queries at 31 and 45 are missed: b at 50 is nearer than a at 1.
        let queries = Self.embeddings([0, 20, 31, 80, 45, 10])
        let chosen = EvaluationReport.retrievals(
            queries: queries, queryTable: Self.table(["a", "a", "a", "b", "a", "unknown"], prefix: "q"),
            gallery: Self.embeddings([1, 50, 90]), galleryTable: Self.table(["a", "b", "b"], prefix: "g"),
            count: 2, items: 2, blockSize: blockSize)
        // Margins: cos 1 - cos 50 = 0.36, cos 19 - cos 30 = 0.08, cos 10 - cos 79 = 0.79.
        #expect(chosen.best.map(\.queryPath) == ["q3.png", "q0.png"])
        // Both have a at rank 2; the first item's score is cos 5 against cos 19.
        #expect(chosen.worst.map(\.queryPath) == ["q4.png", "q2.png"])
        let worst = try #require(chosen.worst.first)
        #expect(worst.queryLabel == "a")
        #expect(worst.items.map(\.path) == ["g1.png", "g0.png"])
        #expect(worst.items.map(\.rank) == [1, 2])
        #expect(worst.items.map(\.isCorrect) == [false, true])
        #expect(abs(worst.items[0].score - Float(cos(5 * Double.pi / 180))) < 1e-5)
    }

    @Test func firstCorrectItemIsShownThoughItRanksLow() throws {
        let chosen = EvaluationReport.retrievals(
            queries: Self.embeddings([0]), queryTable: Self.table(["a"], prefix: "q"),
            gallery: Self.embeddings([10, 20, 30, 40, 50]),
            galleryTable: Self.table(["b", "b", "c", "a", "a"], prefix: "g"), items: 2)
        #expect(chosen.best.isEmpty)
        #expect(chosen.worst.map { $0.items.map(\.rank) } == [[1, 4]])
        #expect(chosen.worst.first?.items.last?.path == "g3.png")
    }
}
