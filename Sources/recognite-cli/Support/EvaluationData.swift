import ArgumentParser
import Logging
import Recognite

/// Which pictures are recognized by which.
struct EvaluationData: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The references: a CSV with a column of pictures (relative to it) and one of labels, or a folder with a "
                + "folder of pictures for each label.", valueName: "csv|folder"))
    var gallery: String?
    @Option(help: ArgumentHelp("The pictures to recognize, in the same form.", valueName: "csv|folder"))
    var query: String?
    @Option(
        name: [.customLong("data"), .customLong("data-csv")],
        help: ArgumentHelp("In place of both: pictures to divide into gallery and queries.", valueName: "csv|folder"))
    var data: String?
    @Option(
        name: [.customLong("image-key"), .customLong("data-image-key")],
        help: ArgumentHelp("The CSV's column of pictures.", valueName: "name"))
    var imageKey = "image"
    @Option(
        name: [.customLong("label-key"), .customLong("data-label-key")],
        help: ArgumentHelp("The CSV's column of labels.", valueName: "name"))
    var labelKey = "label"
    @Option(
        name: [.customLong("val-fold"), .customLong("k-fold-val-fold")],
        help: ArgumentHelp(
            "The fold of --data's labels that is evaluated, from 0, as in training. Without it, or with \"none\": all.",
            valueName: "n|none"))
    var valFold: OptionalArgument<Int>?
    @Option(
        name: [.customLong("num-folds"), .customLong("k-fold-num-folds")],
        help: ArgumentHelp("Folds that the labels are divided into.", valueName: "n"))
    var numFolds = 5
    @Option(help: ArgumentHelp("Seed of the division into folds.", valueName: "n"))
    var kFoldSeed: UInt32 = 42
    @Option(
        name: [.customLong("num-refs"), .customLong("gal-num-refs")],
        help: ArgumentHelp("Pictures of each label of --data in the gallery.", valueName: "n"))
    var numRefs = 1
    @Option(
        name: [.customLong("gal-ref-seed"), .customLong("ref-seed")],
        help: ArgumentHelp("Seed of the choice of those pictures.", valueName: "n"))
    var galRefSeed: UInt32 = 42

    func validate() throws {
        if data != nil {
            guard gallery == nil, query == nil else {
                throw ValidationError("--data takes the place of --gallery and --query")
            }
        } else {
            guard gallery != nil, query != nil else {
                throw ValidationError("--gallery and --query are needed, or --data for both")
            }
            guard valFold == nil else { throw ValidationError("--val-fold divides --data, which is not given") }
        }
        guard numFolds > 0 else { throw ValidationError("--num-folds must be positive") }
        guard numRefs > 0 else { throw ValidationError("--num-refs must be positive") }
    }

    /// Reads and divides the tables.
    ///
    /// - Throws: `ImageTableError`, `SplitError`; `InputError` if no queries are left.
    func tables() throws -> (gallery: ImageTable, query: ImageTable) {
        func table(_ path: String) throws -> ImageTable {
            try ImageTable(contentsOf: path, imageColumn: imageKey, labelColumn: labelKey)
        }
        guard let data else {
            let tables = (gallery: try table(gallery!), query: try table(query!))
            let shared = Self.shared(tables.gallery, tables.query)
            if shared > 0 {
                Logger(label: "recognite.data").notice(
                    "\(shared) queries are in the gallery too, and find themselves")
            }
            return tables
        }
        var all = try table(data)
        if let fold = valFold?.value {
            all = try all.kFoldSplit(folds: numFolds, validationFold: fold, seed: kFoldSeed).validation
        }
        let (gallery, query, scarce) = all.galleryQuerySplit(references: numRefs, seed: galRefSeed)
        if !scarce.isEmpty {
            let shown = scarce.prefix(10).joined(separator: ", ") + (scarce.count > 10 ? ", …" : "")
            Logger(label: "recognite.data").notice(
                "\(scarce.count) labels have fewer than \(numRefs) references: \(shown)")
        }
        guard query.count > 0 else {
            throw InputError(path: data, problem: "no label has more than \(numRefs) pictures: no queries are left")
        }
        return (gallery, query)
    }

    /// How many queries' files are in the gallery.
    static func shared(_ gallery: ImageTable, _ query: ImageTable) -> Int {
        let known = Set(gallery.rows.map(\.path))
        return query.rows.count { known.contains($0.path) }
    }

    /// The data in words.
    var name: String {
        guard let data else { return "gallery \(gallery!), queries \(query!)" }
        return valFold?.value.map { "\(data), fold \($0) of \(numFolds)" } ?? data
    }
}
