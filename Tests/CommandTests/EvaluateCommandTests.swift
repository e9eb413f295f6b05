import Foundation
import Recognite
import TestSupport
import Testing

/// `recognite evaluate`, from the outside: random weights on drawn pictures whose labels are their colours.
@Suite struct EvaluateCommandTests {
    private static let colours: [(label: String, colour: SIMD3<UInt8>)] = [
        ("warm/red", [220, 30, 30]), ("warm/yellow", [230, 220, 20]), ("cold/blue", [20, 40, 220]),
        ("cold/green", [20, 200, 40]),
    ]

    /// A folder of each label with pictures that differ in a stripe, and CSVs of the first ones and of the others.
    private static func draw(in folder: String, perLabel: Int = 3) throws {
        var tables = [["image,label"], ["image,label"]]
        for (label, colour) in colours {
            try FileManager.default.createDirectory(
                atPath: folder + "/all/" + label, withIntermediateDirectories: true)
            for index in 0..<perLabel {
                var picture = RGBImage(width: 70, height: 64, filledWith: colour)
                for y in 0..<64 { picture[x: 20 * index + 5, y: y] = [255, 255, 255] }
                let name = "all/\(label)/\(index).png"
                try Data(PNGEncoder.encode(picture)).write(to: URL(filePath: folder + "/" + name))
                tables[min(index, 1)].append("\(name),\(label)")
            }
        }
        for (name, lines) in zip(["g.csv", "q.csv"], tables) {
            try (lines.joined(separator: "\n") + "\n").write(
                toFile: folder + "/" + name, atomically: true, encoding: .utf8)
        }
    }

    private static let model = ["--model", "shufflenet_v2_x0_5", "--size", "64", "--seed", "1"]

    private static func evaluate(_ arguments: [String], model: [String] = model) throws -> RecogniteProcess {
        try RecogniteProcess.run(["evaluate"] + model + arguments, environment: [:])
    }

    private static func figures(_ result: RecogniteProcess) throws -> EvaluationReport.Figures {
        try #require(result.status == 0, "\(result.errors)")
        return try JSONDecoder().decode(EvaluationReport.Figures.self, from: Data(result.output.utf8))
    }

    @Test func measuresGalleryAndQueries() throws {
        try withTemporaryFolder { folder in
            try Self.draw(in: folder)
            let files = ["--gallery", folder + "/g.csv", "--query", folder + "/q.csv"]
            let table = try Self.evaluate(files)
            #expect(table.status == 0, "\(table.errors)")
            for word in ["shufflenet_v2_x0_5", "accuracy", "equal error rate"] {
                #expect(table.output.contains(word), "\(table.output)")
            }
            #expect(table.errors.contains("random weights"))

            let figures = try Self.figures(
                try Self.evaluate(
                    files + ["--json", "--scores", folder + "/s.npy", "--embeddings", folder + "/e.npy"]))
            #expect(figures.retrieval.queries == 8 && figures.retrieval.gallery == 4)
            #expect(figures.fewShot == nil)
            let embeddings = try Tensor(npy: folder + "/e.npy")
            #expect(embeddings.shape == [12, 1024])
            let scores = try Tensor(npy: folder + "/s.npy")
            let expected = SimilarityMetric.inner.scores(
                queries: embeddings.sliced(axis: 0, 4..<12), gallery: embeddings.sliced(axis: 0, 0..<4))
            #expect(scores.shape == [8, 4])
            for (a, b) in zip(scores.scalars, expected.scalars) { #expect(abs(a - b) < 1e-5) }
            let accuracy = ScoreMetrics(
                scores: scores, galleryLabels: [0, 1, 2, 3], queryLabels: [0, 0, 1, 1, 2, 2, 3, 3]
            ).accuracy()
            #expect(figures.retrieval.accuracy == accuracy)
        }
    }

    @Test func dividesOneSetAsTrainingDoes() throws {
        try withTemporaryFolder { folder in
            try Self.draw(in: folder)
            let all = try Self.figures(try Self.evaluate(["--data", folder + "/all", "--num-refs", "2", "--json"]))
            #expect(all.retrieval.queries == 4 && all.retrieval.gallery == 8)
            let averaged = try Self.figures(
                try Self.evaluate(
                    [
                        "--data", folder + "/all", "--val-fold", "none", "--num-refs", "2", "--average-refs",
                        "--metric", "sq_euclid", "--json", "--scores", folder + "/s.npy",
                    ]))
            #expect(averaged.retrieval.gallery == 4)
            #expect(try Tensor(npy: folder + "/s.npy").scalars.allSatisfy { $0 <= 0 })
            let fold = try Self.figures(
                try Self.evaluate(["--data", folder + "/all", "--val-fold", "1", "--num-folds", "2", "--json"]))
            #expect(fold.retrieval.queries == 4 && fold.retrieval.gallery == 2)
        }
    }

    @Test func runsEpisodesWithinGroups() throws {
        try withTemporaryFolder { folder in
            try Self.draw(in: folder)
            let options = ["--data", folder + "/all", "--json", "--few-shot-ways", "2", "--few-shot-episodes", "20"]
            let outcome = try #require(
                try Self.figures(
                    try Self.evaluate(options + ["--few-shot-shots", "2", "--group-by-folder"])
                ).fewShot)
            #expect(outcome.groupNames == [0: "cold", 1: "warm"])
            #expect(outcome.result.groups.keys.sorted() == [0, 1])
            #expect(outcome.settings == FewShot(ways: 2, shots: 2, queries: 1, episodes: 20, seed: 1))
            let more = try Self.evaluate(
                ["--data", folder + "/all", "--few-shot-ways", "3", "--few-shot-episodes", "20", "--group-by-folder"])
            #expect(more.output.contains("cold (2-way)") && more.output.contains("2 of 2 groups"), "\(more.output)")
            let ungrouped = try #require(try Self.figures(try Self.evaluate(options)).fewShot)
            #expect(ungrouped.result.groups.count == 1)
            let scarce = try Self.evaluate(options + ["--few-shot-queries", "3"])
            #expect(scarce.status == 1 && scarce.errors.contains("4 pictures each"), "\(scarce.errors)")
        }
    }

    @Test func writesAReport() throws {
        try withTemporaryFolder { folder in
            try Self.draw(in: folder)
            let result = try Self.evaluate(
                ["--data", folder + "/all", "--report", folder + "/out/report", "--use-three-crop", "--json"])
            let figures = try Self.figures(result)
            let page = try String(contentsOfFile: folder + "/out/report/index.html", encoding: .utf8)
            #expect(page.contains("data:image/png;base64,") && page.contains("warm/red"))
            #expect(!page.contains("class=\"missing\""))
            let filed = try JSONDecoder().decode(
                EvaluationReport.Figures.self,
                from: Data(contentsOf: URL(filePath: folder + "/out/report/metrics.json")))
            #expect(filed == figures)
            #expect(filed.description["input"] == "64 x 64 pixels, three crops")
        }
    }

    @Test func weightsFilesNameTheirModelAndInput() throws {
        try withTemporaryFolder { folder in
            try Self.draw(in: folder)
            let weights = folder + "/w.safetensors"
            let recognizer = try withRandomSeed(5) { try Recognizer("shufflenet_v2_x0_5") }
            let metadata = [
                "model": "shufflenet_v2_x0_5", "size": "64", "mean": "0.5,0.5,0.5", "std": "0.25,0.25,0.25",
            ]
            try recognizer.stateDict().write(safetensorsTo: weights, metadata: metadata)
            let data = ["--data", folder + "/all", "--embeddings", folder + "/e.npy", "--json", "--weights", weights]
            let named = try Self.figures(try Self.evaluate(data, model: []))
            let first = try Tensor(npy: folder + "/e.npy").scalars
            #expect(named.description["input"] == "64 x 64 pixels")
            // The same by hand, and another mean.
            let given = Self.model + ["--norm-mean", "0.5,0.5,0.5", "--norm-std", "0.25,0.25,0.25"]
            _ = try Self.figures(try Self.evaluate(data, model: given))
            #expect(try Tensor(npy: folder + "/e.npy").scalars == first)
            _ = try Self.figures(try Self.evaluate(data + ["--norm-mean", "0.1,0.5,0.5"], model: []))
            #expect(try Tensor(npy: folder + "/e.npy").scalars != first)

            try recognizer.stateDict().write(safetensorsTo: weights, metadata: ["size": "64"])
            let nameless = try Self.evaluate(data, model: [])
            #expect(nameless.status == 1 && nameless.errors.contains("w.safetensors"), "\(nameless.errors)")
            #expect(nameless.errors.contains("--model") && nameless.output.isEmpty)
            try recognizer.stateDict().write(
                safetensorsTo: weights, metadata: metadata.merging(["mean": "0.5,x"]) { $1 })
            let malformed = try Self.evaluate(data, model: [])
            #expect(malformed.status == 1 && malformed.errors.contains("0.5,x"), "\(malformed.errors)")
        }
    }

    @Test(
        arguments: [
            (["--gallery", "g.csv"], 64, "--query"),
            (["--gallery", "g.csv", "--query", "q.csv", "--data", "all"], 64, "--data"),
            (["--gallery", "g.csv", "--query", "q.csv", "--val-fold", "1"], 64, "--val-fold"),
            (["--data", "all", "--group-by-folder"], 64, "--few-shot-ways"),
            (["--data", "all", "--few-shot-ways", "1"], 64, "--few-shot-ways"),
            (["--data", "all", "--batch-size", "0"], 64, "--batch-size"),
            (["--data", "all", "--norm-std", "1,1"], 64, "--norm-std"),
            (["--data", "nothing"], 1, "nothing"),
            (["--data", "all", "--val-fold", "7"], 1, "7"),
            (["--data", "all", "--num-refs", "3"], 1, "no queries"),
            (["--data", "g.csv", "--label-key", "class"], 1, "class"),
            (["--data", "all", "--scores", "no/such/s.npy"], 1, "no/such"),
            (["--gallery", "all", "--query", "all", "--few-shot-ways", "2"], 1, "gallery"),
        ] as [([String], Int32, String)])
    func reportsMistakes(arguments: [String], code: Int32, word: String) throws {
        try withTemporaryFolder { folder in
            try Self.draw(in: folder)
            let paths: Set = ["g.csv", "q.csv", "all", "nothing", "no/such/s.npy"]
            let result = try Self.evaluate(arguments.map { paths.contains($0) ? folder + "/" + $0 : $0 })
            #expect(result.status == code, "\(result.errors)")
            #expect(result.errors.contains(word), "\(result.errors)")
            #expect(result.output.isEmpty)
        }
    }

    @Test func unreadablePictureIsNamedWithItsRow() throws {
        try withTemporaryFolder { folder in
            try Self.draw(in: folder)
            try Data("no picture".utf8).write(to: URL(filePath: folder + "/all/warm/red/0.png"))
            let result = try Self.evaluate(["--data", folder + "/all", "--embeddings", folder + "/e.npy"])
            #expect(result.status == 1 && result.errors.contains("warm/red/0.png"), "\(result.errors)")
            #expect(!FileManager.default.fileExists(atPath: folder + "/e.npy"))
            try Data("no picture".utf8).write(to: URL(filePath: folder + "/all/warm/yellow/1.png"))
            let tables = try Self.evaluate(["--gallery", folder + "/q.csv", "--query", folder + "/q.csv"])
            // Behind the header and two rows of red.
            #expect(tables.status == 1 && tables.errors.contains("row 4 of \(folder)/q.csv"), "\(tables.errors)")
        }
    }
}
