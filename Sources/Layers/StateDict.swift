import Tensors

/// The element type of a stored tensor, under PyTorch's names.
public enum DType: String, Sendable, CaseIterable {
    case float64, float32, float16, bfloat16
    case int64, int32, int16, int8, uint8, bool

    /// Bytes of one element.
    public var size: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .float16, .bfloat16, .int16: 2
        case .int8, .uint8, .bool: 1
        }
    }

    public var isFloatingPoint: Bool {
        switch self {
        case .float64, .float32, .float16, .bfloat16: true
        default: false
        }
    }
}

/// A stored number where an integer is needed: NaN, infinite or too large.
public struct IntegerConversionError: Error, CustomStringConvertible {
    public let value: Float
    public var description: String { "\(value) where the model counts in integers" }
}

/// A model's parameters and buffers by key, in order, with PyTorch's keys and shapes.
public struct StateDict: Sendable {
    /// One tensor: its shape in PyTorch's order of axes (`[O, I, kH, kW]`) and a way to its elements, which may still
    /// lie in a file.
    public struct Entry: Sendable {
        public let shape: [Int]
        public let dtype: DType
        private let elements: Elements

        private enum Elements: Sendable {
            case floats(@Sendable (UnsafeMutableBufferPointer<Float>) throws -> Void)
            case integers(@Sendable () throws -> [Int64])
        }

        /// Floating-point elements, which `fill` writes, converted to float32, in row-major order.
        public init(
            shape: [Int], dtype: DType = .float32,
            fill: @escaping @Sendable (UnsafeMutableBufferPointer<Float>) throws -> Void
        ) {
            precondition(dtype.isFloatingPoint, "StateDict.Entry: \(dtype) has no floating-point elements")
            self.shape = shape
            self.dtype = dtype
            self.elements = .floats(fill)
        }

        /// Integer elements (counters, index tables) in row-major order.
        public init(shape: [Int], dtype: DType = .int64, integers: @escaping @Sendable () throws -> [Int64]) {
            precondition(!dtype.isFloatingPoint, "StateDict.Entry: \(dtype) has no integer elements")
            self.shape = shape
            self.dtype = dtype
            self.elements = .integers(integers)
        }

        /// A tensor whose shape is already in PyTorch's order.
        public init(_ tensor: Tensor) {
            self.init(shape: tensor.shape) { target in
                tensor.withUnsafeScalars { _ = target.initialize(from: $0) }
            }
        }

        /// The number of elements.
        public var count: Int { shape.reduce(1, *) }

        /// The elements as float32, in PyTorch's shape; integers are converted.
        public func tensor() throws -> Tensor {
            switch elements {
            case .floats(let fill): try Tensor(shape: shape) { try fill($0) }
            case .integers(let integers): Tensor(try integers().map(Float.init), shape: shape)
            }
        }

        /// The elements as integers; floating-point elements are rounded toward zero.
        ///
        /// - Throws: ``IntegerConversionError`` for an element that no 64-bit integer is near.
        public func integers() throws -> [Int64] {
            switch elements {
            case .integers(let integers): return try integers()
            case .floats:
                return try tensor().scalars.map { value in
                    guard value.magnitude < 0x1p63 else { throw IntegerConversionError(value: value) }
                    return Int64(value)
                }
            }
        }
    }

    /// The keys in order.
    public private(set) var keys: [String] = []
    private var entries: [String: Entry] = [:]

    public init() {}

    public var count: Int { keys.count }

    /// The entry of a key. Setting a new key appends it; setting `nil` removes the key.
    public subscript(key: String) -> Entry? {
        get { entries[key] }
        set {
            switch (entries[key] != nil, newValue != nil) {
            case (false, true): keys.append(key)
            case (true, false): keys.removeAll { $0 == key }
            default: break
            }
            entries[key] = newValue
        }
    }

    /// The same entries under other keys; `nil` drops the entry.
    ///
    /// - Precondition: no two keys become one.
    public func mapKeys(_ transform: (String) throws -> String?) rethrows -> StateDict {
        var result = StateDict()
        for key in keys {
            guard let renamed = try transform(key) else { continue }
            precondition(result[renamed] == nil, "StateDict.mapKeys: two keys become \"\(renamed)\"")
            result[renamed] = entries[key]
        }
        return result
    }
}

extension StateDict: Sequence {
    public func makeIterator() -> AnyIterator<(key: String, entry: Entry)> {
        var index = 0
        return AnyIterator {
            guard index < keys.count else { return nil }
            defer { index += 1 }
            return (keys[index], entries[keys[index]]!)
        }
    }
}
