import Layers
import Tensors

/// A safetensors file: 8 bytes of the header's length, a header in JSON, the elements.
/// Format: https://github.com/huggingface/safetensors#format
struct SafetensorsFile {
    /// In the header's order.
    let tensors: [(key: String, tensor: StoredTensor)]
    let metadata: [String: String]

    /// As in the reference implementation.
    private static let headerLimit = 100_000_000

    init(_ file: MappedFile) throws(CheckpointError.Problem) {
        var reader = ByteReader(file.bytes)
        let length = try reader.integer(UInt64.self)
        guard length <= UInt64(reader.remaining) else {
            throw .damaged("its header claims \(length) bytes, \(reader.remaining) are there")
        }
        guard length <= Self.headerLimit else {
            throw .unsupported("a header of \(length) bytes; \(Self.headerLimit) are allowed")
        }
        var parser = SafetensorsHeaderParser(try reader.take(Int(length)))
        let header = try parser.parse()
        let start = reader.position
        let size = reader.remaining

        // The elements must follow each other without a gap and fill the file, as the reference demands.
        var expected = 0
        for entry in header.tensors.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
            guard entry.begin == expected, entry.end >= entry.begin, entry.end <= size else {
                throw .damaged(
                    "the tensor \(printable(entry.key)) lies at \(entry.begin)..<\(entry.end), "
                        + "expected from \(expected), at most to \(size)")
            }
            expected = entry.end
        }
        guard expected == size else {
            throw .damaged("its tensors take \(expected) bytes, \(size) are there")
        }

        var tensors: [(key: String, tensor: StoredTensor)] = []
        for entry in header.tensors {
            guard let dtype = Self.dtypes[entry.dtype] else {
                throw .unsupported("the tensor \(printable(entry.key)) of type \(printable(entry.dtype))")
            }
            let storage = StorageBytes(file: file, range: start + entry.begin..<start + entry.end)
            let tensor: StoredTensor
            do {
                tensor = try StoredTensor(dtype: dtype, shape: entry.shape, storage: storage)
            } catch {
                throw error.inTensor(entry.key)
            }
            guard tensor.count * dtype.size == storage.count else {
                throw .damaged(
                    "the tensor \(printable(entry.key)) of \(dtype) and shape \(entry.shape.prefix(8)) "
                        + "has \(storage.count) bytes")
            }
            tensors.append((entry.key, tensor))
        }
        self.tensors = tensors
        self.metadata = header.metadata
    }

    static let dtypes: [String: DType] = [
        "F64": .float64, "F32": .float32, "F16": .float16, "BF16": .bfloat16, "I64": .int64, "I32": .int32,
        "I16": .int16, "I8": .int8, "U8": .uint8, "BOOL": .bool,
    ]

    static func name(of dtype: DType) -> String { dtypes.first { $0.value == dtype }!.key }
}
