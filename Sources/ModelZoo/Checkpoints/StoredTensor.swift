import Layers

/// A tensor as a view of a storage: its elements lie `strides` apart from `offset` on.
struct StoredTensor: Sendable {
    let dtype: DType
    let shape: [Int]
    /// In elements, not negative; zero for axes with one element and for those that repeat the same elements.
    let strides: [Int]
    /// Bytes from the storage's beginning to the first element.
    let byteOffset: Int
    let storage: StorageBytes

    /// The number of elements, which is known to fit.
    var count: Int { shape.reduce(1, *) }

    /// The elements of a storage from its beginning on, in row-major order.
    init(dtype: DType, shape: [Int], storage: StorageBytes) throws(CheckpointError.Problem) {
        var strides = [Int](repeating: 1, count: shape.count)
        for axis in stride(from: shape.count - 2, through: 0, by: -1) {
            let (product, overflow) = strides[axis + 1].multipliedReportingOverflow(by: max(1, shape[axis + 1]))
            guard !overflow else { throw .damaged("a tensor of shape \(shape)") }
            strides[axis] = product
        }
        try self.init(dtype: dtype, shape: shape, strides: strides, offset: 0, storage: storage)
    }

    /// Checks that the view lies inside its storage.
    ///
    /// - Parameter offset: in elements.
    init(
        dtype: DType, shape: [Int], strides: [Int], offset: Int, storage: StorageBytes
    ) throws(CheckpointError.Problem) {
        let view = "a tensor of shape \(shape.prefix(8)), strides \(strides.prefix(8)), offset \(offset)"
        guard shape.count == strides.count, shape.count <= 64 else {
            throw .damaged("\(view) with \(shape.count) sizes and \(strides.count) strides")
        }
        guard offset >= 0, shape.allSatisfy({ $0 >= 0 }), strides.allSatisfy({ $0 >= 0 }) else {
            throw .damaged("\(view): negative numbers")
        }
        let capacity = storage.count / dtype.size
        var last = offset
        var product = 1
        var overflows = false
        for (size, stride) in zip(shape, strides) {
            // An axis of size 0 must not hide that the sizes beside it cannot be multiplied.
            let (count, tooMany) = product.multipliedReportingOverflow(by: max(1, size))
            let (reach, tooFar) = (max(1, size) - 1).multipliedReportingOverflow(by: stride)
            let (sum, beyond) = last.addingReportingOverflow(reach)
            overflows = overflows || tooMany || tooFar || beyond
            (product, last) = (count, sum)
        }
        let (_, tooLarge) = product.multipliedReportingOverflow(by: 8)
        guard !overflows, !tooLarge else { throw .damaged("\(view) is too large for any memory") }
        if !shape.contains(0) {
            guard last < capacity else {
                throw .damaged("\(view) reaches beyond its storage of \(capacity) elements")
            }
        }
        self.dtype = dtype
        self.shape = shape
        // The stride of an axis with one element is never walked and may be any number; 0 cannot overflow.
        self.strides = zip(shape, strides).map { $0 > 1 ? $1 : 0 }
        self.byteOffset = shape.contains(0) ? 0 : offset * dtype.size
        self.storage = storage
    }

    /// The entry of a state dict, which reads the elements from the file when they are asked for.
    func entry(path: String, key: String) -> StateDict.Entry {
        if dtype.isFloatingPoint {
            StateDict.Entry(shape: shape, dtype: dtype) { target in
                do throws(CheckpointError.Problem) {
                    try readFloats(into: target)
                } catch {
                    throw CheckpointError(path: path, key: key, problem: error)
                }
            }
        } else {
            StateDict.Entry(shape: shape, dtype: dtype) {
                do throws(CheckpointError.Problem) {
                    return try readIntegers()
                } catch {
                    throw CheckpointError(path: path, key: key, problem: error)
                }
            }
        }
    }

    private func readFloats(into target: UnsafeMutableBufferPointer<Float>) throws(CheckpointError.Problem) {
        guard count > 0 else { return }
        precondition(target.count == count, "StoredTensor: \(count) elements do not fill \(target.count)")
        let out = target.baseAddress!
        try storage.withBytes { bytes throws(CheckpointError.Problem) in
            let first = bytes.baseAddress! + byteOffset
            switch dtype {
            case .float32 where isContiguous:
                UnsafeMutableRawPointer(out).copyMemory(from: first, byteCount: count * 4)
            case .float32: gather(first, UInt32.self, into: out) { Float(bitPattern: UInt32(littleEndian: $0)) }
            case .float64:
                gather(first, UInt64.self, into: out) { Float(Double(bitPattern: UInt64(littleEndian: $0))) }
            case .float16: gather(first, UInt16.self, into: out) { HalfFloats.float(half: UInt16(littleEndian: $0)) }
            case .bfloat16:
                gather(first, UInt16.self, into: out) { HalfFloats.float(bfloat: UInt16(littleEndian: $0)) }
            case .int64, .int32, .int16, .int8, .uint8, .bool: preconditionFailure("\(dtype) is not floating-point")
            }
        }
    }

    private func readIntegers() throws(CheckpointError.Problem) -> [Int64] {
        guard count > 0 else { return [] }
        return try storage.withBytes { bytes throws(CheckpointError.Problem) in
            let first = bytes.baseAddress! + byteOffset
            return [Int64](unsafeUninitializedCapacity: count) { target, initialized in
                let out = target.baseAddress!
                switch dtype {
                case .int64: gather(first, Int64.self, into: out) { Int64(littleEndian: $0) }
                case .int32: gather(first, Int32.self, into: out) { Int64(Int32(littleEndian: $0)) }
                case .int16: gather(first, Int16.self, into: out) { Int64(Int16(littleEndian: $0)) }
                case .int8: gather(first, Int8.self, into: out) { Int64($0) }
                case .uint8: gather(first, UInt8.self, into: out) { Int64($0) }
                case .bool: gather(first, UInt8.self, into: out) { $0 == 0 ? 0 : 1 }
                case .float64, .float32, .float16, .bfloat16: preconditionFailure("\(dtype) is floating-point")
                }
                initialized = count
            }
        }
    }

    private var isContiguous: Bool {
        var expected = 1
        for (size, stride) in zip(shape, strides).reversed() where size != 1 {
            guard stride == expected else { return false }
            expected *= size
        }
        return true
    }

    /// Writes `convert` of every element, in row-major order.
    @inline(__always)
    private func gather<Raw: BitwiseCopyable, Out>(
        _ first: UnsafeRawPointer, _ raw: Raw.Type, into out: UnsafeMutablePointer<Out>, convert: (Raw) -> Out
    ) {
        let width = MemoryLayout<Raw>.size
        let contiguous = isContiguous
        let rowSize = contiguous ? count : shape.last ?? 1
        let rowStride = (contiguous ? 1 : strides.last ?? 1) * width
        let outerAxes = contiguous ? 0 : max(0, shape.count - 1)
        var index = [Int](repeating: 0, count: outerAxes)
        var row = 0  // the current row's offset in bytes
        var next = out
        for _ in 0..<count / rowSize {
            let start = first + row
            for column in 0..<rowSize {
                (next + column).initialize(to: convert((start + column * rowStride).loadUnaligned(as: Raw.self)))
            }
            next += rowSize
            for axis in stride(from: outerAxes - 1, through: 0, by: -1) {
                index[axis] += 1
                row += strides[axis] * width
                if index[axis] < shape[axis] { break }
                row -= index[axis] * strides[axis] * width
                index[axis] = 0
            }
        }
    }
}
