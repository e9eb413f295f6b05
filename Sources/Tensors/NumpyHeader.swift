/// The header of a `.npy` file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
struct NumpyHeader: Equatable {
    /// The element type as numpy writes it, such as `'<f4'`; of a structured type, its whole text.
    var descr: String
    var fortranOrder: Bool
    var shape: [Int]
    /// Bytes before the first element.
    var size = 0

    static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    /// Rows are padded to this many digits, so that a count that is known only at the end fits.
    private static let rowDigits = 20

    init(shape: [Int]) {
        self.descr = "'<f4'"
        self.fortranOrder = false
        self.shape = shape
    }

    /// The header of float32 elements in version 1.0; its length does not depend on the size of the first axis.
    var encoded: [UInt8] {
        let sizes = shape.map(String.init)
        let tuple = "(\(sizes.joined(separator: ", "))\(sizes.count == 1 ? "," : ""))"
        var text = "{'descr': \(descr), 'fortran_order': False, 'shape': \(tuple), }"
        text += String(repeating: " ", count: Self.rowDigits - (sizes.first?.utf8.count ?? 0))
        // The elements begin at a multiple of 64 bytes; the 11 are the magic, version, length and line end.
        text += String(repeating: " ", count: 63 - (text.utf8.count + 10) % 64) + "\n"
        let length = UInt16(text.utf8.count)
        return Self.magic + [1, 0, UInt8(length & 0xff), UInt8(length >> 8)] + Array(text.utf8)
    }

    /// Reads a header from a file's beginning; the error says what is wrong with it.
    init(_ bytes: UnsafeRawBufferPointer) throws(Malformed) {
        guard bytes.count >= 10, bytes.prefix(6).elementsEqual(Self.magic) else {
            throw Malformed(bytes.isEmpty ? "it is empty" : "it does not begin with \\x93NUMPY")
        }
        let lengthBytes: Int
        switch (bytes[6], bytes[7]) {
        case (1, 0): lengthBytes = 2
        case (2, 0), (3, 0): lengthBytes = 4
        case (let major, let minor): throw Malformed("version \(major).\(minor) is not known")
        }
        guard bytes.count >= 8 + lengthBytes else { throw Malformed("it ends inside its header") }
        let length = (0..<lengthBytes).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
        let start = 8 + lengthBytes
        guard length <= bytes.count - start else { throw Malformed("it ends inside its header") }
        var parser = PythonDictParser(text: Array(bytes[start..<start + length]))
        self = try parser.header()
        size = start + length
    }

    struct Malformed: Error {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }
}

/// Reads the Python dict in a `.npy` header, which has three keys.
private struct PythonDictParser {
    let text: [UInt8]
    var position = 0

    init(text: [UInt8]) { self.text = text }

    mutating func header() throws(NumpyHeader.Malformed) -> NumpyHeader {
        var descr: String?
        var fortranOrder: Bool?
        var shape: [Int]?
        try expect("{")
        while !accept("}") {
            let key = try string()
            try expect(":")
            switch key {
            case "'descr'": descr = try self.descr()
            case "'fortran_order'": fortranOrder = try bool()
            case "'shape'": shape = try tuple()
            default: throw NumpyHeader.Malformed("its header has an unknown key")
            }
            if accept("}") { break }
            try expect(",")
        }
        skipSpaces()
        guard position == text.count else { throw malformed }
        guard let descr, let fortranOrder, let shape else {
            throw NumpyHeader.Malformed("its header lacks descr, fortran_order or shape")
        }
        var header = NumpyHeader(shape: shape)
        header.descr = descr
        header.fortranOrder = fortranOrder
        return header
    }

    private var malformed: NumpyHeader.Malformed { .init("its header cannot be read at byte \(position)") }

    private mutating func skipSpaces() {
        while position < text.count, [0x20, 0x0a, 0x09, 0x0d].contains(text[position]) { position += 1 }
    }

    private mutating func accept(_ token: String) -> Bool {
        skipSpaces()
        guard text[position...].starts(with: token.utf8) else { return false }
        position += token.utf8.count
        return true
    }

    private mutating func expect(_ token: String) throws(NumpyHeader.Malformed) {
        guard accept(token) else { throw malformed }
    }

    /// A string with single quotes around it, whichever quotes the text has.
    private mutating func string() throws(NumpyHeader.Malformed) -> String {
        skipSpaces()
        guard position < text.count, text[position] == 0x27 || text[position] == 0x22,
            let end = text[(position + 1)...].firstIndex(of: text[position])
        else { throw malformed }
        defer { position = end + 1 }
        return "'" + String(decoding: text[position + 1..<end], as: UTF8.self) + "'"
    }

    /// A type's name, or the text of the list that describes a structured type.
    private mutating func descr() throws(NumpyHeader.Malformed) -> String {
        guard accept("[") else { return try string() }
        guard let end = text[position...].lastIndex(of: UInt8(ascii: "]")) else { throw malformed }
        defer { position = end + 1 }
        return "[" + String(decoding: text[position...end], as: UTF8.self)
    }

    private mutating func bool() throws(NumpyHeader.Malformed) -> Bool {
        if accept("True") { return true }
        try expect("False")
        return false
    }

    private mutating func tuple() throws(NumpyHeader.Malformed) -> [Int] {
        var sizes: [Int] = []
        try expect("(")
        while !accept(")") {
            skipSpaces()
            let digits = text[position...].prefix { (0x30...0x39).contains($0) }
            guard let size = Int(String(decoding: digits, as: UTF8.self)) else { throw malformed }
            position += digits.count
            _ = accept("L")  // Python 2 wrote long integers so.
            sizes.append(size)
            if accept(")") { break }
            try expect(",")
        }
        return sizes
    }
}
