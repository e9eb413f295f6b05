/// Reads the JSON of a safetensors header: an object of objects, of which nothing else is accepted than the format has.
struct SafetensorsHeaderParser {
    struct Entry {
        let key: String
        var dtype = ""
        var shape: [Int] = []
        /// Offsets in bytes behind the header.
        var begin = 0
        var end = 0
    }

    private let text: UnsafeRawBufferPointer
    private var position = 0

    init(_ text: UnsafeRawBufferPointer) { self.text = text }

    mutating func parse() throws(CheckpointError.Problem) -> (tensors: [Entry], metadata: [String: String]) {
        var tensors: [Entry] = []
        var metadata: [String: String] = [:]
        var keys: Set<String> = []
        try object { parser, key throws(CheckpointError.Problem) in
            guard keys.insert(key).inserted else { throw .damaged("its header has \(printable(key)) twice") }
            if key == "__metadata__" {
                try parser.object { parser, name throws(CheckpointError.Problem) in
                    metadata[name] = try parser.string()
                }
            } else {
                tensors.append(try parser.entry(key))
            }
        }
        skipSpaces()
        guard position == text.count else { throw malformed("something follows it") }
        return (tensors, metadata)
    }

    private mutating func entry(_ key: String) throws(CheckpointError.Problem) -> Entry {
        var entry = Entry(key: key)
        var seen: Set<String> = []
        try object { parser, field throws(CheckpointError.Problem) in
            guard seen.insert(field).inserted else { throw parser.malformed("\(printable(field)) twice") }
            switch field {
            case "dtype": entry.dtype = try parser.string()
            case "shape": entry.shape = try parser.integers()
            case "data_offsets":
                let offsets = try parser.integers()
                guard offsets.count == 2 else { throw parser.malformed("two offsets are needed") }
                (entry.begin, entry.end) = (offsets[0], offsets[1])
            default: throw parser.malformed("the unknown field \(printable(field))")
            }
        }
        guard seen.count == 3 else { throw malformed("\(printable(key)) lacks a field") }
        return entry
    }

    // MARK: JSON

    private func malformed(_ what: String) -> CheckpointError.Problem {
        .damaged("its header is malformed before byte \(position): \(what)")
    }

    private mutating func skipSpaces() {
        while position < text.count, [0x20, 0x0a, 0x09, 0x0d].contains(text[position]) { position += 1 }
    }

    private mutating func accept(_ character: Unicode.Scalar) -> Bool {
        skipSpaces()
        guard position < text.count, text[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(CheckpointError.Problem) {
        guard accept(character) else { throw malformed("\(character) is missing") }
    }

    /// Calls `body` for each key of an object, which must read the value.
    private mutating func object(
        _ body: (inout Self, String) throws(CheckpointError.Problem) -> Void
    ) throws(CheckpointError.Problem) {
        try expect("{")
        if accept("}") { return }
        repeat {
            let key = try string()
            try expect(":")
            try body(&self, key)
        } while accept(",")
        try expect("}")
    }

    private mutating func integers() throws(CheckpointError.Problem) -> [Int] {
        var result: [Int] = []
        try expect("[")
        if accept("]") { return result }
        repeat {
            skipSpaces()
            let digits = text[position...].prefix { (0x30...0x39).contains($0) }
            guard let value = Int(UnsafeRawBufferPointer(rebasing: digits).utf8Text) else {
                throw malformed("a number that fits into 63 bits is needed")
            }
            position += digits.count
            result.append(value)
        } while accept(",")
        try expect("]")
        return result
    }

    private mutating func string() throws(CheckpointError.Problem) -> String {
        try expect("\"")
        var bytes: [UInt8] = []
        while position < text.count {
            let byte = text[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"): bytes += Array(String(try escape()).utf8)
            case ..<0x20: throw malformed("a control character in a string")
            default: bytes.append(byte)
            }
        }
        throw malformed("a string without an end")
    }

    /// The character of an escape, behind its backslash.
    private mutating func escape() throws(CheckpointError.Problem) -> Unicode.Scalar {
        guard position < text.count else { throw malformed("a string without an end") }
        let byte = text[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): break
        default: throw malformed("an unknown escape")
        }
        let unit = try hexadecimal()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        // Characters beyond U+FFFF are written as two escapes.
        guard (0xd800...0xdbff).contains(unit), accept("\\"), accept("u") else { throw malformed("half a character") }
        let low = try hexadecimal()
        guard (0xdc00...0xdfff).contains(low),
            let scalar = Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
        else { throw malformed("half a character") }
        return scalar
    }

    private mutating func hexadecimal() throws(CheckpointError.Problem) -> UInt32 {
        guard text.count - position >= 4,
            let value = UInt32(UnsafeRawBufferPointer(rebasing: text[position..<position + 4]).utf8Text, radix: 16)
        else { throw malformed("an escape without four digits") }
        position += 4
        return value
    }
}
