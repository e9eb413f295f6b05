import Foundation
import Tensors

extension ImageTable {
    /// A CSV file with a header, in UTF-8, read as pandas' `read_csv` does: fields may be quoted, spaces around them
    /// belong to them, and blank lines are skipped.
    ///
    /// - Parameters:
    ///   - imageColumn: the column of the pictures' paths, which are relative to the CSV's folder.
    ///   - labelColumn: the column of their labels.
    /// - Throws: ``ImageTableError`` with every bad row: one with a quote that is not closed, with another number of
    ///   fields than the header, without a path or a label, or whose picture does not exist.
    public init(
        csv path: String, imageColumn: String = "image", labelColumn: String = "label"
    ) throws(ImageTableError) {
        let records = try Self.records(path)
        func failure(_ problems: [String]) -> ImageTableError { ImageTableError(path: path, problems: problems) }
        guard let first = records.firstIndex(where: { !$0.isBlank }) else { throw failure(["an empty file"]) }
        let header = records[first].fields
        // In quotes, because of spaces.
        let names = header.map { "\"\($0)\"" }.joined(separator: ", ")
        func index(_ column: String) throws(ImageTableError) -> Int {
            guard let index = header.firstIndex(of: column) else {
                throw failure(["no column \"\(column)\"; there are: \(names)"])
            }
            return index
        }
        let (image, label) = (try index(imageColumn), try index(labelColumn))
        let folder = (path as NSString).deletingLastPathComponent
        var problems: [String] = []
        var rows: [Row] = []
        for (number, record) in records.enumerated().dropFirst(first) where !record.isBlank {
            func bad(_ problem: String) { problems.append("row \(number + 1): \(problem)") }
            let fields = record.fields
            if let problem = record.problem {
                bad(problem)
                continue
            }
            if number == first { continue }
            guard fields.count == header.count else {
                bad("\(fields.count) fields, the header has \(header.count)")
                continue
            }
            let row = Row(
                path: Self.path(fields[image], in: folder), label: fields[label],
                origin: .init(path: path, row: number + 1))
            var isFolder: ObjCBool = false
            if fields[image].isEmpty {
                bad("no path of a picture")
            } else if !FileManager.default.fileExists(atPath: row.path, isDirectory: &isFolder) || isFolder.boolValue {
                bad("no file \(row.path)")
            }
            if fields[label].allSatisfy(\.isWhitespace) { bad("no label") }
            rows.append(row)
        }
        guard problems.isEmpty else { throw failure(problems) }
        guard !rows.isEmpty else { throw failure(["no rows"]) }
        self.init(rows: rows)
    }

    private static func records(_ path: String) throws(ImageTableError) -> [CSVRecord] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ImageTableError(path: path, problems: ["cannot be read"])
        }
        guard var text = String(data: data, encoding: .utf8) else {
            throw ImageTableError(path: path, problems: ["is not UTF-8"])
        }
        // A byte order mark, as spreadsheets write it.
        if text.unicodeScalars.first == "\u{FEFF}" { text.unicodeScalars.removeFirst() }
        return CSVRecord.records(of: text)
    }

    private static func path(_ name: String, in folder: String) -> String {
        name.hasPrefix("/") || folder.isEmpty ? name : (folder as NSString).appendingPathComponent(name)
    }

    /// Writes a CSV with the columns `image` and `label`. Paths within the CSV's folder are written relative to it, others
    /// as absolute ones. A file that was there before stays as it was on an error.
    ///
    /// - Throws: `FileError`.
    public func write(
        csv path: String, imageColumn: String = "image", labelColumn: String = "label"
    ) throws(FileError) {
        func absolute(_ path: String) -> String { URL(filePath: path).standardizedFileURL.path(percentEncoded: false) }
        let parent = (path as NSString).deletingLastPathComponent
        let folder = absolute(parent.isEmpty ? "." : parent)
        let prefix = folder.hasSuffix("/") ? folder : folder + "/"
        let file = try AtomicFile(path: path)
        try file.write(CSVRecord.line([imageColumn, labelColumn]))
        for row in rows {
            let picture = absolute(row.path)
            let name = picture.hasPrefix(prefix) ? String(picture.dropFirst(prefix.count)) : picture
            try file.write(CSVRecord.line([name, row.label]))
        }
        try file.commit()
    }
}
