import ArgumentParser
import Foundation
import Recognite

struct SplitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "split", abstract: "Split labelled pictures into training, gallery and query sets.",
        discussion: """
            Writes train.csv, gallery.csv and query.csv. No label of the training set occurs in the other two, which \
            have the same labels. The rows are those that Python's recognite chooses for the same seeds.
            """)

    @Argument(
        help: ArgumentHelp(
            """
            A CSV file with a column of pictures, relative to its folder, and one of labels; or a folder with a folder \
            for each label.
            """, valueName: "data"))
    var data: String

    @Option(
        name: [.customLong("folds"), .customLong("num-folds"), .customLong("k-fold-num-folds")],
        help: "Parts that the labels are divided into.")
    var folds = 5

    @Option(
        name: [.customLong("val-fold"), .customLong("k-fold-val-fold")], help: "The part for gallery and query, from 0."
    )
    var valFold = 0

    @Option(
        name: [.customLong("seed"), .customLong("k-fold-seed")],
        help: "Seed of the division of the labels; `recognite train` has 42.")
    var seed: UInt32 = 0

    @Option(
        name: [.customLong("num-refs"), .customLong("gal-num-refs")], help: "References of each label in the gallery.")
    var numRefs = 1

    @Option(
        name: [.customLong("ref-seed"), .customLong("gal-ref-seed")],
        help: "Seed of the choice of references; `recognite train` has 42.")
    var refSeed: UInt32 = 0

    @Option(
        name: [.customLong("image-key"), .customLong("data-image-key")],
        help: "The column with the pictures, in the files that are written too.")
    var imageKey = "image"

    @Option(
        name: [.customLong("label-key"), .customLong("data-label-key")],
        help: "The column with the labels, in the files that are written too.")
    var labelKey = "label"

    @Option(help: ArgumentHelp("Where to write; it is made if it does not exist.", valueName: "folder"))
    var outputDir: String

    func validate() throws {
        guard folds >= 2 else { throw ValidationError("--folds must be at least 2") }
        guard 0..<folds ~= valFold else { throw ValidationError("--val-fold must be between 0 and \(folds - 1)") }
        guard numRefs >= 1 else { throw ValidationError("--num-refs must be at least 1") }
        guard imageKey != labelKey else { throw ValidationError("--image-key and --label-key must differ") }
    }

    func run() throws {
        let table = try ImageTable(contentsOf: data, imageColumn: imageKey, labelColumn: labelKey)
        let (train, validation) = try table.kFoldSplit(folds: folds, validationFold: valFold, seed: seed)
        let (gallery, query, scarce) = validation.galleryQuerySplit(references: numRefs, seed: refSeed)
        if !scarce.isEmpty {
            StandardError.line(
                "warning: labels with fewer than \(numRefs) pictures for the gallery: "
                    + scarce.joined(separator: ", "))
        }
        try makeOutputFolder()
        var text = ""
        for (name, part) in [("train", train), ("gallery", gallery), ("query", query)] {
            let path = (outputDir.hasSuffix("/") ? outputDir : outputDir + "/") + "\(name).csv"
            try part.write(csv: path, imageColumn: imageKey, labelColumn: labelKey)
            text += "\(path): \(part.count) pictures of \(part.labels.count) labels\n"
        }
        print(text, terminator: "")
    }

    private func makeOutputFolder() throws {
        do {
            try FileManager.default.createDirectory(atPath: outputDir, withIntermediateDirectories: true)
        } catch {
            throw InputError(path: outputDir, problem: "cannot be made a folder")
        }
    }
}
