extension Tensor {
    /// Reads a `.npy` file of little-endian float32 elements in C order.
    public init(npy path: String) throws(NumpyError) {
        let file: MappedFile
        do { file = try MappedFile(path: path) } catch { throw .file(error) }
        let header: NumpyHeader
        do { header = try NumpyHeader(file.bytes) } catch { throw .malformed(path: path, reason: error.reason) }

        guard header.descr == "'<f4'" else { throw .dtype(path: path, found: Self.oneLine(header.descr)) }
        guard !header.fortranOrder || header.shape.count <= 1 else { throw .fortranOrder(path: path) }
        let found = file.bytes.count - header.size
        guard header.shape.count <= 64, let expected = Self.byteCount(header.shape) else {
            throw .malformed(path: path, reason: "its shape has too many elements")
        }
        guard expected == found else {
            throw .size(path: path, shape: header.shape, expected: expected, found: found)
        }
        self.init(shape: header.shape) { target in
            UnsafeMutableRawBufferPointer(target).copyMemory(from: .init(rebasing: file.bytes[header.size...]))
        }
    }

    /// Writes a `.npy` file of float32 elements. On an error, a file that was there before stays as it was.
    public func write(npy path: String) throws(NumpyError) {
        do throws(FileError) {
            let file = try AtomicFile(path: path)
            try Self.write(NumpyHeader(shape: shape).encoded, to: file)
            try withUnsafeScalars { scalars throws(FileError) in try file.write(UnsafeRawBufferPointer(scalars)) }
            try file.commit()
        } catch {
            throw .file(error)
        }
    }

    static func write(_ bytes: [UInt8], to file: AtomicFile) throws(FileError) {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(FileError) in try file.write(bytes) }
        }
        try result.get()
    }

    /// `nil` when the number does not fit; an axis of size 0 does not hide sizes that are too large beside it.
    private static func byteCount(_ shape: [Int]) -> Int? {
        var product = MemoryLayout<Float>.size
        for size in shape {
            let (next, overflow) = product.multipliedReportingOverflow(by: max(1, size))
            guard !overflow else { return nil }
            product = next
        }
        return shape.contains(0) ? 0 : product
    }

    /// A type's text without line breaks, and not longer than a message bears.
    private static func oneLine(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(60).filter { $0.value >= 0x20 }))
    }
}
