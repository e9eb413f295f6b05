import Layers
import Tensors

extension StateDict {
    /// Writes a safetensors file, tensor by tensor. On an error, a file that was there before stays as it was.
    ///
    /// The header has the keys in this dictionary's order. The elements themselves are ordered by falling element
    /// size, so that each tensor begins at a multiple of its own; the format has no gaps to align them with.
    ///
    /// - Parameter metadata: texts under `__metadata__`, beside `"format": "pt"`.
    /// - Throws: ``FileError``, ``CheckpointError`` for a tensor named `__metadata__`, or what reading an entry throws.
    public func write(safetensorsTo path: String, metadata: [String: String] = [:]) throws {
        guard self["__metadata__"] == nil else {
            throw CheckpointError(
                path: path, key: "__metadata__",
                problem: .unsupported("a tensor of this name, which safetensors keeps for itself"))
        }
        let file = try AtomicFile(path: path)
        let placed = [8, 4, 2, 1].flatMap { size in self.filter { $0.entry.dtype.size == size } }
        var offsets: [String: Int] = [:]
        var end = 0
        for (key, entry) in placed {
            offsets[key] = end
            end += entry.count * entry.dtype.size
        }
        let header = Self.header(of: self, offsets: offsets, metadata: metadata)
        try withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { try file.write($0) }
        try file.write(header)
        for (_, entry) in placed { try entry.write(to: file) }
        try file.commit()
    }

    private static func header(of dict: StateDict, offsets: [String: Int], metadata: [String: String]) -> String {
        let texts = metadata.merging(["format": "pt"]) { given, _ in given }
            .sorted { $0.key < $1.key }
            .map { "\(json($0.key)):\(json($0.value))" }
        var members = ["\"__metadata__\":{\(texts.joined(separator: ","))}"]
        for (key, entry) in dict {
            let begin = offsets[key]!
            let shape = entry.shape.map(String.init).joined(separator: ",")
            members.append(
                "\(json(key)):{\"dtype\":\"\(SafetensorsFile.name(of: entry.dtype))\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(begin),\(begin + entry.count * entry.dtype.size)]}")
        }
        var header = "{\(members.joined(separator: ","))}"
        header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
        return header
    }

    private static func json(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.value < 0x20:
                result += "\\u00\(scalar.value < 16 ? "0" : "")\(String(scalar.value, radix: 16))"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension StateDict.Entry {
    /// Appends the elements in their stored type.
    fileprivate func write(to file: AtomicFile) throws {
        if dtype.isFloatingPoint {
            try tensor().withUnsafeScalars { scalars in
                switch dtype {
                case .float32: try file.write(UnsafeRawBufferPointer(scalars))
                case .float64: try file.write(converting: scalars) { Double($0) }
                case .float16: try file.write(converting: scalars) { HalfFloats.half($0) }
                default: try file.write(converting: scalars) { HalfFloats.bfloat($0) }
                }
            }
        } else {
            try integers().withUnsafeBufferPointer { integers in
                switch dtype {
                case .int64: try file.write(UnsafeRawBufferPointer(integers))
                case .int32: try file.write(converting: integers) { Int32(truncatingIfNeeded: $0) }
                case .int16: try file.write(converting: integers) { Int16(truncatingIfNeeded: $0) }
                case .bool: try file.write(converting: integers) { $0 == 0 ? UInt8(0) : 1 }
                default: try file.write(converting: integers) { UInt8(truncatingIfNeeded: $0) }
                }
            }
        }
    }
}

extension AtomicFile {
    /// Appends converted elements, a few at a time.
    fileprivate func write<Element, Stored: BitwiseCopyable>(
        converting elements: UnsafeBufferPointer<Element>, _ convert: (Element) -> Stored
    ) throws(FileError) {
        let chunk = 1 << 14
        for start in stride(from: 0, to: elements.count, by: chunk) {
            let stored = elements[start..<min(start + chunk, elements.count)].map(convert)
            let result = stored.withUnsafeBytes { bytes in
                Result { () throws(FileError) in try write(bytes) }
            }
            try result.get()
        }
    }
}
