import Foundation
import Tensors

/// Pictures in files with their labels, in the order of a CSV's rows or of a folder's names.
public struct ImageTable: Sendable, Hashable {
    /// One picture. Rows are equal that have the same path and label, wherever they were read.
    public struct Row: Sendable, Hashable {
        /// The picture's file.
        public var path: String
        public var label: String
        /// Where the row was read, for errors; `nil` unless it comes from a CSV.
        public var origin: Origin?

        /// A row of a CSV file.
        public struct Origin: Sendable, Hashable {
            public let path: String
            /// Its number in the file, the header's being 1.
            public let row: Int

            public init(path: String, row: Int) {
                self.path = path
                self.row = row
            }
        }

        public init(path: String, label: String, origin: Origin? = nil) {
            self.path = path
            self.label = label
            self.origin = origin
        }

        public static func == (a: Row, b: Row) -> Bool { a.path == b.path && a.label == b.label }

        public func hash(into hasher: inout Hasher) {
            hasher.combine(path)
            hasher.combine(label)
        }
    }

    public var rows: [Row]

    public init(rows: [Row]) { self.rows = rows }

    public var count: Int { rows.count }

    /// The labels, each once, in the order in which they first appear.
    public var labels: [String] {
        var seen: Set<String> = []
        return rows.map(\.label).filter { seen.insert($0).inserted }
    }

    /// The rows of some indices, in their order.
    public func subset(_ indices: some Sequence<Int>) -> ImageTable { ImageTable(rows: indices.map { rows[$0] }) }

    /// A CSV file, or a folder with a folder for each label.
    ///
    /// - Throws: ``ImageTableError``.
    public init(
        contentsOf path: String, imageColumn: String = "image", labelColumn: String = "label"
    ) throws(ImageTableError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw ImageTableError(path: path, problems: ["no such file or folder"])
        }
        if isFolder.boolValue {
            try self.init(folder: path)
        } else {
            try self.init(csv: path, imageColumn: imageColumn, labelColumn: labelColumn)
        }
    }

    /// The pictures in a folder's subfolders, sorted by path; a picture's label is the path of its folder within the given
    /// one, such as `Greek/character01`. Hidden files and folders are left out.
    ///
    /// - Throws: ``ImageTableError`` for a folder that cannot be read, holds no pictures, or pictures outside of
    ///   subfolders, which are all named.
    public init(folder: String) throws(ImageTableError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue,
            let names = FileManager.default.enumerator(atPath: folder)
        else { throw ImageTableError(path: folder, problems: ["no such folder"]) }
        let endings = ["jpg", "jpeg", "png", "webp"]
        // Not what the Finder and others hide beside the pictures, such as `a/._1.png`.
        let pictures = names.compactMap { $0 as? String }.filter { name in
            endings.contains((name as NSString).pathExtension.lowercased())
                && !name.split(separator: "/").contains { $0.hasPrefix(".") }
        }.sorted()
        let loose = pictures.filter { !$0.contains("/") }
        guard loose.isEmpty else {
            throw ImageTableError(path: folder, problems: loose.map { "\($0) lies in no label's folder" })
        }
        guard !pictures.isEmpty else { throw ImageTableError(path: folder, problems: ["no pictures in it"]) }
        rows = pictures.map { name in
            Row(
                path: (folder as NSString).appendingPathComponent(name),
                label: (name as NSString).deletingLastPathComponent)
        }
    }
}

/// A table that cannot be used: everything that is wrong with it.
public struct ImageTableError: Error, CustomStringConvertible {
    public let path: String
    /// One text each; those about a row begin with its number, the header's being 1.
    public let problems: [String]

    /// At most 20 problems are shown.
    public var description: String {
        if problems.count == 1 { return "\(path): \(problems[0])" }
        let shown = problems.prefix(20).map { "\n    " + $0 }.joined()
        let rest = problems.count > 20 ? "\n    and \(problems.count - 20) more" : ""
        return "\(path): \(problems.count) problems:\(shown)\(rest)"
    }
}
