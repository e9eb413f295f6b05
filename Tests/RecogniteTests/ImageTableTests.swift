import Foundation
import Recognite
import TestSupport
import Testing

/// Tables of pictures from CSV files and folders. No picture is decoded: the files are empty.
@Suite struct ImageTableTests {
    private func makeFiles(_ names: [String], in folder: String) throws {
        for name in names {
            let path = "\(folder)/\(name)"
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try #require(FileManager.default.createFile(atPath: path, contents: Data()))
        }
    }

    private func write(_ text: String, to path: String) throws { try Data(text.utf8).write(to: URL(filePath: path)) }

    /// The labels of a CSV with that text, in a folder with the files a.png and b.png.
    private func labels(_ text: String, image: String = "image", label: String = "label") throws -> [String] {
        try withTemporaryFolder { folder in
            try makeFiles(["a.png", "b.png"], in: folder)
            try write(text, to: folder + "/t.csv")
            let table = try ImageTable(csv: folder + "/t.csv", imageColumn: image, labelColumn: label)
            #expect(table.rows.allSatisfy { $0.path == folder + "/a.png" || $0.path == folder + "/b.png" })
            return table.rows.map(\.label)
        }
    }

    private func problems(_ text: String, files: [String] = ["a.png"]) throws -> [String] {
        try withTemporaryFolder { folder in
            try makeFiles(files, in: folder)
            try write(text, to: folder + "/t.csv")
            let error = #expect(throws: ImageTableError.self) { _ = try ImageTable(csv: folder + "/t.csv") }
            #expect(error?.path == folder + "/t.csv")
            return (error?.problems ?? []).map { $0.replacing(folder + "/", with: "") }
        }
    }

    @Test func quotedFields() throws {
        #expect(
            try labels("image,label\na.png,\"one, two\"\nb.png,\"say \"\"hi\"\"\"\n") == ["one, two", "say \"hi\""])
        #expect(try labels("\"image\",\"label\"\n\"a.png\",\"x\"\n\"b.png\",y\n") == ["x", "y"])
        // A label of two lines; the second row's quotes begin and end with a doubled one.
        #expect(try labels("image,label\na.png,\"one\ntwo\"\nb.png,\"\"\"q\"\"\"\n") == ["one\ntwo", "\"q\""])
        // A quote in the middle of a field that does not begin with one.
        #expect(try labels("image,label\na.png,5\" disk\nb.png,\" x \"\n") == ["5\" disk", " x "])
    }

    /// What pandas' `read_csv` makes of the same text.
    @Test func spacesAndQuotesArePandas() throws {
        #expect(try labels("image,label\na.png, x\nb.png,\ty \n") == [" x", "\ty "])
        // A quote behind a space is none, so that the comma is one.
        #expect(try labels("image,label\na.png, \"x\"\nb.png,\"y\" \n") == [" \"x\"", "y "])
        #expect(try problems("image,label\na.png, \"x, y\"\n") == ["row 2: 3 fields, the header has 2"])
        #expect(try labels("image,label\na.png,a\"b\"\"c\nb.png,\"a\"b\"c\"\n") == ["a\"b\"\"c", "ab\"c\""])
        // A line may begin with spaces that belong to its first field.
        #expect(try labels("label,image\n x,a.png\n  \t\n\ty,b.png\n") == [" x", "\ty"])
        #expect(
            try problems("image, label\na.png,x\n") == ["no column \"label\"; there are: \"image\", \" label\""])
        // A line of quotes is not blank.
        #expect(try problems("image,label\n\"\"\na.png,x\n") == ["row 2: 1 fields, the header has 2"])
    }

    @Test func lineEndsAndBlankLines() throws {
        #expect(try labels("image,label\r\na.png,x\r\nb.png,y\r\n") == ["x", "y"])
        #expect(try labels("image,label\ra.png,x\rb.png,y") == ["x", "y"])
        #expect(try labels("\n\nimage,label\n\na.png,x\n   \n\nb.png,y") == ["x", "y"])
        #expect(try labels("image,label\r\na.png,\"one\r\ntwo\"\r\n") == ["one\r\ntwo"])
    }

    @Test func unicode() throws {
        #expect(try labels("\u{FEFF}image,label\na.png,Größe\nb.png,片仮名\n") == ["Größe", "片仮名"])
        // A vowel sign is one character with the comma, or the quote, in front of it.
        let sign = "\u{93F}"
        let rows = try labels("image,label\na.png,\(sign)\nb.png,\"\(sign)\"\n")
        #expect(rows.map { Array($0.unicodeScalars) } == [Array(sign.unicodeScalars), Array(sign.unicodeScalars)])
        try withTemporaryFolder { folder in
            let path = folder + "/t.csv"
            try Data([0x69, 0x6D, 0xFF, 0x0A]).write(to: URL(filePath: path))
            let error = #expect(throws: ImageTableError.self) { _ = try ImageTable(csv: path) }
            #expect(error?.problems == ["is not UTF-8"])
        }
    }

    @Test func otherColumns() throws {
        let text = "id,class name,file,note\n1,x,a.png,\n2,y,b.png,\"n, m\"\n"
        #expect(try labels(text, image: "file", label: "class name") == ["x", "y"])
        #expect(try problems("file,class\na.png,x\n") == ["no column \"image\"; there are: \"file\", \"class\""])
        #expect(
            try problems("image,class,note\na.png,x,\n") == [
                "no column \"label\"; there are: \"image\", \"class\", \"note\""
            ])
    }

    /// Paths are relative to the CSV's folder, wherever it is; absolute ones stay.
    @Test func paths() throws {
        try withTemporaryFolder { folder in
            try makeFiles(["data/sub/a.png", "elsewhere/b.png"], in: folder)
            let text = "image,label\nsub/a.png,x\n\(folder)/elsewhere/b.png,y\n../elsewhere/b.png,z\n"
            try write(text, to: folder + "/data/t.csv")
            let table = try ImageTable(contentsOf: folder + "/data/t.csv")
            #expect(table.rows[0].path == folder + "/data/sub/a.png")
            #expect(table.rows[1].path == folder + "/elsewhere/b.png")
            #expect(table.rows.allSatisfy { FileManager.default.fileExists(atPath: $0.path) })
            #expect(table.labels == ["x", "y", "z"])
        }
    }

    /// All bad rows at once, by their numbers; the header is row 1.
    @Test func everyBadRowIsListed() throws {
        let rows = [
            "image,label", "a.png,fine", "missing.png,x", "a.png,", "a.png,   ", ",x", "a.png", "a.png,x,more", "",
            "\"a.png\"?,x", "gone.png,", "folder,x", "a.png,\"two\nlines\"", "a.png,", "\"a.png,x", "",
        ]
        #expect(
            try problems(rows.joined(separator: "\n"), files: ["a.png", "folder/c.png"]) == [
                "row 3: no file missing.png", "row 4: no label", "row 5: no label", "row 6: no path of a picture",
                "row 7: 1 fields, the header has 2", "row 8: 3 fields, the header has 2",
                "row 10: no file a.png?", "row 11: no file gone.png", "row 11: no label",
                "row 12: no file folder", "row 14: no label", "row 15: a quote that is not closed",
            ])
        // The last line has an empty label too without a line end.
        #expect(try problems("image,label\na.png,") == ["row 2: no label"])
    }

    @Test func tablesOfNothing() throws {
        #expect(try problems("") == ["an empty file"])
        #expect(try problems("\n\n") == ["an empty file"])
        #expect(try problems("image,label\n\n") == ["no rows"])
        try withTemporaryFolder { folder in
            for path in [folder + "/none.csv", folder + "/none"] {
                let error = #expect(throws: ImageTableError.self) { _ = try ImageTable(contentsOf: path) }
                #expect(error.map { "\($0)" } == "\(path): no such file or folder")
            }
            let error = #expect(throws: ImageTableError.self) { _ = try ImageTable(csv: folder + "/none.csv") }
            #expect(error?.problems == ["cannot be read"])
        }
    }

    @Test func longListsAreCut() throws {
        let text = "image,label\n" + (0..<25).map { "\($0).png,x\n" }.joined()
        #expect(try problems(text).count == 25)
        try withTemporaryFolder { folder in
            try write(text, to: folder + "/t.csv")
            let error = #expect(throws: ImageTableError.self) { _ = try ImageTable(csv: folder + "/t.csv") }
            let lines = error.map { "\($0)".split(separator: "\n") } ?? []
            #expect(lines.count == 22)
            #expect(lines.first == "\(folder)/t.csv: 25 problems:")
            #expect(lines.last == "    and 5 more")
        }
    }

    @Test func folderTree() throws {
        try withTemporaryFolder { folder in
            try makeFiles(
                ["Latin/b/2.png", "Latin/b/1.PNG", "Latin/a/1.jpeg", "Greek/α/x.webp", "Greek/notes.txt", "readme.md"],
                in: folder + "/data")
            let table = try ImageTable(contentsOf: folder + "/data")
            #expect(table.rows.map(\.label) == ["Greek/α", "Latin/a", "Latin/b", "Latin/b"])
            #expect(
                table.rows.map { ($0.path as NSString).lastPathComponent } == ["x.webp", "1.jpeg", "1.PNG", "2.png"])
            #expect(table.rows.allSatisfy { FileManager.default.fileExists(atPath: $0.path) })
            #expect(table.labels == ["Greek/α", "Latin/a", "Latin/b"])
            func problems(_ path: String) -> [String]? {
                let error = #expect(throws: ImageTableError.self) { _ = try ImageTable(folder: path) }
                return error?.problems
            }
            try makeFiles(["data/loose.png", "data/more.jpg", "none/a/readme.md"], in: folder)
            #expect(
                problems(folder + "/data")
                    == ["loose.png lies in no label's folder", "more.jpg lies in no label's folder"])
            #expect(problems(folder + "/none") == ["no pictures in it"])
            #expect(problems(folder + "/nowhere") == ["no such folder"])
        }
    }

    @Test func writtenTablesReadTheSame() throws {
        try withTemporaryFolder { folder in
            let names = [
                "data/a.png", "data/sub/deep er/b.png", "data/with, comma.png", "data/with \"quotes\".png",
                "data/ leading.png", "data/two\nlines.png", "data/100%25.png", "data/ü/片.png", "elsewhere/c.png",
                "data.png",
            ]
            try makeFiles(names, in: folder)
            let labels = [
                "plain", "a, b", "\"", "say \"\"hi\"\"", " leading", "\ttab", "two\nlines", "cr\r\nlf", "\u{93F}",
                "trailing ",
            ]
            let table = ImageTable(rows: zip(names, labels).map { .init(path: "\(folder)/\($0)", label: $1) })
            let path = folder + "/data/t.csv"
            try table.write(csv: path)
            #expect(try ImageTable(csv: path) == table)
            let text = try String(contentsOfFile: path, encoding: .utf8)
            // Only what lies outside has its whole path.
            #expect(text.hasPrefix("image,label\na.png,plain\nsub/deep er/b.png,\"a, b\"\n"))
            #expect(text.components(separatedBy: folder).count == 3)
            // It may move with its pictures.
            try FileManager.default.moveItem(atPath: folder + "/data", toPath: folder + "/moved")
            let moved = try ImageTable(csv: folder + "/moved/t.csv")
            #expect(moved.rows.map(\.label) == labels)
            #expect(moved.rows[1].path == folder + "/moved/sub/deep er/b.png")
            try table.subset([9, 8]).write(csv: folder + "/t.csv", imageColumn: "f", labelColumn: "l, m")
            let renamed = try ImageTable(csv: folder + "/t.csv", imageColumn: "f", labelColumn: "l, m")
            #expect(renamed == table.subset([9, 8]))
        }
    }

    /// Text that was cut off or changed somewhere gives a table or an error, never a crash.
    @Test func brokenText() throws {
        let text =
            "\u{FEFF}image,label,note\r\na.png,\"one, \"\"two\"\"\",x\r\n"
            + "b.png,Größe,\"a\nb\"\n\na.png,片仮名,\n"
        let bytes = Array(text.utf8), special = Array("\",\r\n \u{93F}".utf8)
        var source = RandomSource(seed: 17)
        var outcomes = (tables: 0, errors: 0)
        try withTemporaryFolder { folder in
            try makeFiles(["a.png", "b.png"], in: folder)
            for number in 0..<200 {
                var changed = bytes
                for _ in 0...number % 2 where !changed.isEmpty {
                    let at = Int.random(in: 0..<changed.count, using: &source)
                    switch Int.random(in: 0..<5, using: &source) {
                    case 0: changed.removeSubrange(at...)
                    case 1: changed.remove(at: at)
                    case 2: changed[at] = UInt8.random(in: 0...255, using: &source)
                    case 3: changed.insert(special.randomElement(using: &source)!, at: at)
                    default: changed.insert(contentsOf: changed[..<at], at: at)
                    }
                }
                try Data(changed).write(to: URL(filePath: folder + "/t.csv"))
                do throws(ImageTableError) {
                    let table = try ImageTable(csv: folder + "/t.csv")
                    #expect(table.count > 0)
                    #expect(table.rows.allSatisfy { !$0.path.isEmpty && !$0.label.isEmpty })
                    outcomes.tables += 1
                } catch {
                    #expect(!error.problems.isEmpty)
                    outcomes.errors += 1
                }
            }
        }
        #expect(outcomes.tables > 5 && outcomes.errors > 50)
    }
}
