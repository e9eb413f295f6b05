/// A record of a CSV file (RFC 4180).
struct CSVRecord {
    var fields: [String] = []
    /// What is wrong with its quotes.
    var problem: String?

    /// Whether it is an empty line, or one of spaces.
    var isBlank: Bool { fields == [""] && problem == nil }

    /// The records of a text, blank lines among them. Lines end in LF, CR LF or CR; spaces and tabs in front of a field
    /// are skipped; a quote within a field that does not begin with one stands for itself.
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
            let isSpecial = field.utf8.contains(where: special.contains)
            guard isSpecial || field.utf8.first?.isSpace == true else { return field }
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
            while true {
                record.fields.append(field(&record.problem))
                guard byte == .comma else { break }
                at += 1
            }
            let end = byte
            if end != nil { at += 1 }
            if end == .carriageReturn, byte == .lineFeed { at += 1 }
            return record
        }

        private mutating func field(_ problem: inout String?) -> String {
            while let byte, byte.isSpace { at += 1 }
            guard byte == .quote else {
                let start = at
                while !isAtFieldEnd { at += 1 }
                return String(decoding: bytes[start..<at], as: UTF8.self)
            }
            at += 1
            var text: [UInt8] = []
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
            while let byte, byte.isSpace { at += 1 }
            if !isAtFieldEnd {
                problem = "text behind a closing quote"
                while !isAtFieldEnd { at += 1 }
            }
            return String(decoding: text, as: UTF8.self)
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
