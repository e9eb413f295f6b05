import Foundation
import Recognite
import Testing

/// Divisions of tables against the reference library's: the same rows for the same seeds.
@Suite struct SplitTests {
    struct Golden: Decodable {
        struct Case: Decodable {
            let num_folds: Int
            let val_fold: Int
            let seed: UInt32
            let num_refs: Int
            let train: [Int]
            let val: [Int]
            let gallery: [Int]
            let query: [Int]
        }

        let labels: [String]
        let cases: [Case]
    }

    /// What `Tools/make_split_fixtures.py` writes.
    struct More: Decodable {
        struct Case: Decodable {
            let num_folds: Int
            let val_fold: Int
            let seed: UInt32
            let num_refs: Int
            let val: [Int]
            /// The first rows of the gallery, and their number, sum and sum of squares.
            let gallery: [Int]
            let gallery_count: Int
            let gallery_sum: Int
            let gallery_squares: Int
            let scarce: Int
        }

        let rows: Int
        let cases: [Case]
    }

    private func resource<T: Decodable>(_ name: String, as type: T.Type) throws -> T {
        let url = try #require(
            Bundle.module.url(forResource: name, withExtension: "json", subdirectory: "Golden/tasks"))
        return try JSONDecoder().decode(type, from: Data(contentsOf: url))
    }

    private func table(_ labels: [String]) -> ImageTable {
        ImageTable(rows: labels.enumerated().map { ImageTable.Row(path: "\($0).png", label: $1) })
    }

    /// The rows of the table that a part was taken from.
    private func numbers(_ part: ImageTable) -> [Int] { part.rows.map { Int($0.path.dropLast(4))! } }

    /// The labels of `Tools/make_split_fixtures.py`: numbers as text.
    private func moreLabels(_ count: Int) -> [String] {
        (0..<count).map { String($0 < 1000 ? $0 * 337 % 700 : $0 * $0 % 700) }
    }

    @Test func splitsEqualTheReference() throws {
        let golden = try resource("splits", as: Golden.self)
        #expect(golden.labels.count == 97 && golden.cases.count == 5)
        let table = table(golden.labels)
        for row in golden.cases {
            let (train, validation) = try table.kFoldSplit(
                folds: row.num_folds, validationFold: row.val_fold, seed: row.seed)
            #expect(numbers(train) == row.train, "seed \(row.seed)")
            #expect(numbers(validation) == row.val, "seed \(row.seed)")
            let (gallery, query, _) = validation.galleryQuerySplit(references: row.num_refs, seed: row.seed)
            #expect(numbers(gallery) == row.gallery, "seed \(row.seed)")
            #expect(numbers(query) == row.query, "seed \(row.seed)")
        }
    }

    /// More rows than the generator has words of state, and seeds at both ends of their range.
    @Test func largeSplitsEqualTheReference() throws {
        let more = try resource("more_splits", as: More.self)
        #expect(more.cases.count == 5)
        let table = table(moreLabels(more.rows))
        #expect(table.labels.count == 700)
        for row in more.cases {
            let (train, validation) = try table.kFoldSplit(
                folds: row.num_folds, validationFold: row.val_fold, seed: row.seed)
            #expect(numbers(validation) == row.val, "seed \(row.seed)")
            let chosen = Set(row.val)
            #expect(numbers(train) == (0..<more.rows).filter { !chosen.contains($0) })
            let (gallery, query, scarce) = table.galleryQuerySplit(references: row.num_refs, seed: row.seed)
            let rows = numbers(gallery)
            #expect(Array(rows.prefix(row.gallery.count)) == row.gallery, "seed \(row.seed)")
            #expect(rows.count == row.gallery_count)
            #expect(rows.reduce(0, +) == row.gallery_sum)
            #expect(rows.reduce(0) { $0 + $1 * $1 } == row.gallery_squares)
            #expect(numbers(query) == (0..<more.rows).filter { !rows.contains($0) })
            #expect(scarce.count == row.scarce)
        }
    }

    /// Every label is in the validation part of exactly one fold, and the folds differ by one label at most.
    @Test func foldsAreAPartition() throws {
        let table = table((0..<60).map { "label \($0 * $0 % 23)" })
        let labels = table.labels
        for folds in [2, 5, labels.count] {
            let parts = try (0..<folds).map { try table.kFoldSplit(folds: folds, validationFold: $0, seed: 4) }
            #expect(parts.flatMap { $0.validation.labels }.sorted() == labels.sorted())
            let sizes = parts.map { $0.validation.labels.count }
            #expect(sizes.max()! - sizes.min()! <= 1)
            for part in parts {
                #expect(part.train.count + part.validation.count == table.count)
                #expect(Set(part.train.labels).isDisjoint(with: part.validation.labels))
            }
        }
        #expect(
            try table.kFoldSplit(folds: 3, validationFold: 0, seed: 1).validation
                != table.kFoldSplit(folds: 3, validationFold: 0, seed: 2).validation)
    }

    @Test func withoutAValidationFoldAllRowsAreForTraining() throws {
        let table = table(["a", "b", "a"])
        let (train, validation) = try table.kFoldSplit(folds: 99, validationFold: nil)
        #expect(train == table)
        #expect(validation.rows.isEmpty)
    }

    @Test func impossibleFoldsAreExplained() throws {
        let table = table(["a", "b", "a", "c"])
        func reason(_ folds: Int, _ fold: Int) -> String {
            let error = #expect(throws: SplitError.self) {
                _ = try table.kFoldSplit(folds: folds, validationFold: fold)
            }
            return error.map { "\($0)" } ?? ""
        }
        #expect(reason(4, 0) == "3 labels cannot be divided into 4 folds")
        #expect(reason(3, 3).contains("no fold 3 among 3"))
        #expect(reason(3, -1).contains("no fold -1 among 3"))
        #expect(reason(0, 0).contains("no fold 0 among 0"))
        // As many folds as labels is the most.
        #expect(try table.kFoldSplit(folds: 3, validationFold: 2).validation.labels.count == 1)
    }

    /// Labels with fewer rows than references are named as they appear; all their rows are references.
    @Test func scarceLabelsAreNamed() {
        let table = table(["z", "a", "z", "b", "z", "a", "c"])
        let (gallery, query, scarce) = table.galleryQuerySplit(references: 2, seed: 8)
        #expect(scarce == ["b", "c"])
        #expect(gallery.rows.count { $0.label == "z" } == 2)
        #expect(Set(numbers(gallery)).isSuperset(of: [1, 3, 5, 6]))
        #expect(query.rows.map(\.label) == ["z"])
        #expect(table.galleryQuerySplit(references: 1, seed: 8).scarceLabels.isEmpty)
        let none = table.galleryQuerySplit(references: 0)
        #expect(none.gallery.rows.isEmpty && none.query == table && none.scarceLabels.isEmpty)
    }
}
