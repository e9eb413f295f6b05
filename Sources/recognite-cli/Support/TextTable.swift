/// Columns of text: the first one to the left, the others to the right.
struct TextTable {
    let header: [String]
    let rows: [[String]]
    /// The columns that are set to the left.
    var leftColumns: Set<Int> = [0]

    var text: String {
        let lines = [header] + rows
        let widths = header.indices.map { column in lines.map { $0[column].count }.max()! }
        return lines.map { line in
            let cells = line.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - line[column].count)
                return leftColumns.contains(column) ? line[column] + padding : padding + line[column]
            }
            let text = cells.joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }
}
