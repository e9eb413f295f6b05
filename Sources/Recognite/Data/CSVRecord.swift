/// A record of a CSV file, as pandas' C parser reads it with its defaults.
struct CSVRecord {
    var fields: [String] = []
    /// Whether it is an empty line, or one of spaces and tabs.
    var isBlank = false
    /// What is wrong with its quotes.
    var problem: String?

    /// The records of a text, blank lines among them. Lines end in LF, CR LF or CR. Only a quote that a field begins
    /// with is one: others stand for themselves, spaces around a field belong to it, and so does text behind a closing
    /// quote.
    ///
    /// It goes by bytes: a label that begins with a combining mark is one `Character` with the comma before it.
    static func records(of text: String) -> [CSVRecord] {
        var reader = Reader(bytes: Array(text.utf8))
        var records: [CSVRecord] = []
        while let record = reader.next() { records.append(record) }
        return records
    }

    /// A record's text with its line end.
    static func line(_ fields: [String]) -> String {
        let quoted = fields.map { field in
            let special: [UInt8] = [.comma, .quote, .lineFeed, .carriageReturn]
            guard field.utf8.contains(where: special.contains) else { return field }
            var doubled: [UInt8] = []
            for byte in field.utf8 { doubled += byte == .quote ? [byte, byte] : [byte] }
            return "\"" + String(decoding: doubled, as: UTF8.self) + "\""
        }
        return quoted.joined(separator: ",") + "\n"
    }

    private struct Reader {
        let bytes: [UInt8]
        var at = 0

        private var byte: UInt8? { at < bytes.count ? bytes[at] : nil }
        private var isAtFieldEnd: Bool { byte.map { $0 == .comma || $0.isLineEnd } ?? true }

        mutating func next() -> CSVRecord? {
            guard at < bytes.count else { return nil }
            var record = CSVRecord()
            let start = at
            while true {
                record.fields.append(field(&record.problem))
                guard byte == .comma else { break }
                at += 1
            }
            record.isBlank = bytes[start..<at].allSatisfy(\.isSpace)
            let end = byte
            if end != nil { at += 1 }
            if end == .carriageReturn, byte == .lineFeed { at += 1 }
            return record
        }

        private mutating func field(_ problem: inout String?) -> String {
            var text: [UInt8] = []
            if byte == .quote {
                at += 1
                while true {
                    guard let byte else {
                        problem = "a quote that is not closed"
                        break
                    }
                    at += 1
                    if byte == .quote {
                        guard self.byte == .quote else { break }
                        at += 1
                    }
                    text.append(byte)
                }
            }
            let start = at
            while !isAtFieldEnd { at += 1 }
            return String(decoding: text + bytes[start..<at], as: UTF8.self)
        }
    }
}

extension UInt8 {
    fileprivate static let comma = UInt8(ascii: ",")
    fileprivate static let quote = UInt8(ascii: "\"")
    fileprivate static let lineFeed = UInt8(ascii: "\n")
    fileprivate static let carriageReturn = UInt8(ascii: "\r")

    fileprivate var isLineEnd: Bool { self == .lineFeed || self == .carriageReturn }
    fileprivate var isSpace: Bool { self == UInt8(ascii: " ") || self == UInt8(ascii: "\t") }
}
