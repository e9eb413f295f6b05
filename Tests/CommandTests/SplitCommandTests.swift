import Foundation
import Recognite
import TestSupport
import Testing

/// `recognite split`, from the outside.
@Suite struct SplitCommandTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        for index in 0..<40 {
            try write("pictures/label_\(index % 8)/\(index).png", "x")
        }
    }

    private func path(_ name: String) -> String { folder.path(name) }

    private func write(_ name: String, _ text: String) throws {
        let file = folder.url.appending(path: name)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }

    @Test func writesThreeTables() throws {
        let lines = (0..<40).map { "pictures/label_\($0 % 8)/\($0).png,label_\($0 % 8)\n" }.joined()
        try write("data.csv", "file,class\n" + lines)
        let output = path("out/deep")
        let options = ["--folds", "4", "--val-fold", "1", "--seed", "3", "--num-refs", "2", "--ref-seed", "9"]
        let result = try RecogniteProcess.run(
            ["split", path("data.csv"), "--image-key", "file", "--label-key", "class", "--output-dir", output]
                + options,
            environment: [:])
        #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
        #expect(result.output.contains("train.csv: 30 pictures of 6 labels\n"))
        #expect(result.output.contains("gallery.csv: 4 pictures of 2 labels\n"))
        #expect(result.output.contains("query.csv: 6 pictures of 2 labels\n"))

        let table = try ImageTable(csv: path("data.csv"), imageColumn: "file", labelColumn: "class")
        let (train, validation) = try table.kFoldSplit(folds: 4, validationFold: 1, seed: 3)
        let (gallery, query, _) = validation.galleryQuerySplit(references: 2, seed: 9)
        for (name, part) in [("train", train), ("gallery", gallery), ("query", query)] {
            let written = try ImageTable(csv: "\(output)/\(name).csv", imageColumn: "file", labelColumn: "class")
            #expect(written.rows.map(\.label) == part.rows.map(\.label))
            let names = { (table: ImageTable) in table.rows.map { URL(filePath: $0.path).lastPathComponent } }
            #expect(names(written) == names(part))
        }
    }

    @Test func splitsFoldersAndWarns() throws {
        let result = try RecogniteProcess.run(
            "split", path("pictures"), "--num-refs", "7", "--folds", "8", "--output-dir", path("out"))
        #expect(result.status == 0)
        #expect(result.errors.hasPrefix("warning: labels with fewer than 7 pictures for the gallery: label_"))
        #expect(result.output.contains("gallery.csv: 5 pictures") && result.output.contains("query.csv: 0 pictures"))
        #expect(try ImageTable(csv: path("out/train.csv")).count == 35)
    }

    @Test func reportsMistakes() throws {
        try write("bad.csv", "image,label\nnone.png,a\n")
        let output = ["--output-dir", path("out")]
        let cases: [(arguments: [String], code: Int32, words: String)] = [
            ([path("bad.csv")], 1, "bad.csv: row 2: no file "),
            ([path("nowhere.csv")], 1, "nowhere.csv"),
            ([path("pictures"), "--folds", "9"], 1, "8 labels cannot be divided into 9 folds"),
            ([path("pictures"), "--val-fold", "5"], 64, "--val-fold must be between 0 and 4"),
            ([path("pictures"), "--folds", "1"], 64, "--folds"),
            ([path("pictures"), "--num-refs", "0"], 64, "--num-refs"),
        ]
        for row in cases {
            let result = try RecogniteProcess.run(["split"] + row.arguments + output, environment: [:])
            #expect(result.status == row.code && result.errors.contains(row.words), "\(result.errors)")
            #expect(result.output.isEmpty)
        }
        #expect(!FileManager.default.fileExists(atPath: path("out")))
    }
}
