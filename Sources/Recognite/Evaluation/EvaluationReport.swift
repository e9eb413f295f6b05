import Foundation
import Tensors

/// An evaluation for people: a page with figures, curves and retrievals, and a table for the terminal.
public struct EvaluationReport: Sendable {
    public var title: String
    /// What was evaluated: the model, the weights, the data, in the order in which they are shown.
    public var description: [(name: String, value: String)]
    public var metrics: RetrievalMetrics
    public var fewShot: FewShotOutcome?
    /// The queries that were recognized most clearly, and those that were missed by most.
    public var best: [Retrieval]
    public var worst: [Retrieval]

    public init(
        title: String, description: [(name: String, value: String)] = [], metrics: RetrievalMetrics,
        fewShot: FewShotOutcome? = nil, best: [Retrieval] = [], worst: [Retrieval] = []
    ) {
        self.title = title
        self.description = description
        self.metrics = metrics
        self.fewShot = fewShot
        self.best = best
        self.worst = worst
    }

    /// Episodes and what came out of them.
    public struct FewShotOutcome: Sendable, Codable, Hashable {
        public let settings: FewShot
        public let result: FewShot.Result
        /// The names of the result's groups; a group without one goes by its number.
        public let groupNames: [Int: String]

        public init(settings: FewShot, result: FewShot.Result, groupNames: [Int: String] = [:]) {
            self.settings = settings
            self.result = result
            self.groupNames = groupNames
        }
    }

    /// A query and items of the gallery, the most similar first.
    public struct Retrieval: Sendable, Hashable {
        public let queryPath: String
        public let queryLabel: String
        public let items: [Item]

        public init(queryPath: String, queryLabel: String, items: [Item]) {
            self.queryPath = queryPath
            self.queryLabel = queryLabel
            self.items = items
        }

        public struct Item: Sendable, Hashable {
            public let path: String
            public let label: String
            public let score: Float
            /// Whether the item has the query's label.
            public let isCorrect: Bool
            /// Its place among all items of the gallery, from 1.
            public let rank: Int

            public init(path: String, label: String, score: Float, isCorrect: Bool, rank: Int) {
                self.path = path
                self.label = label
                self.score = score
                self.isCorrect = isCorrect
                self.rank = rank
            }
        }
    }

    /// The report without its pictures, as `metrics.json` has it.
    public struct Figures: Sendable, Codable, Hashable {
        public let title: String
        public let description: [String: String]
        public let retrieval: RetrievalMetrics
        public let fewShot: FewShotOutcome?
    }

    public var figures: Figures {
        Figures(
            title: title, description: Dictionary(description.map { ($0.name, $0.value) }) { $1 }, retrieval: metrics,
            fewShot: fewShot)
    }

    /// The figures as JSON with sorted keys. What is no number, which embeddings of black pictures can lead to, is the
    /// text "NaN", "Infinity" or "-Infinity".
    public func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        return String(decoding: try encoder.encode(figures), as: UTF8.self)
    }

    /// Writes `index.html`, which needs no other file, and `metrics.json`.
    ///
    /// A picture that cannot be read becomes a box with its name.
    ///
    /// - Parameter folder: created if need be. Files of these names are replaced when the new ones are complete.
    /// - Throws: `FileError`.
    public func write(to folder: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw FileError.system(path: folder, operation: "create", reason: error.localizedDescription)
        }
        for (name, text) in [("metrics.json", try json() + "\n"), ("index.html", html)] {
            let file = try AtomicFile(path: folder + "/" + name)
            try file.write(text)
            try file.commit()
        }
    }
}
