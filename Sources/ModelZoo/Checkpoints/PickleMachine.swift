import Layers

/// Reads one pickle without running anything: the opcodes that state dicts are written with, the few globals of
/// ``PickleGlobal``, and values of which tensors are views of storages.
///
/// Every opcode makes at most one value from bytes that it consumes, so that memory stays proportional to the pickle.
/// Opcodes: CPython's `Lib/pickletools.py`; what PyTorch writes: `torch/serialization.py`, `torch/_utils.py`.
struct PickleMachine {
    /// Longer pickles are refused: state dicts take some 200 bytes a tensor.
    static let sizeLimit = 64 << 20

    private(set) var objects = PickleObjects()
    private var reader: ByteReader
    private var stack: [PickleValue] = []
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]
    /// Elements that calls may copy from one container into another, which opcodes of a few bytes could repeat.
    private var copyBudget: Int

    /// The offset behind what has been read.
    var position: Int { reader.position }

    init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
        let end = min(bytes.count, position + Self.sizeLimit)
        reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[..<end]), at: position)
        copyBudget = reader.remaining
    }

    /// The object that the pickle describes.
    mutating func run() throws(CheckpointError.Problem) -> PickleValue {
        while true {
            let code = try reader.integer(UInt8.self)
            guard let opcode = PickleOpcode(rawValue: code) else {
                let hex = String(code, radix: 16)
                throw .damaged("its pickle has the unknown opcode 0x\(hex) at offset \(position - 1)")
            }
            if opcode == .stop { return try pop() }
            try step(opcode)
        }
    }

    private mutating func step(_ opcode: PickleOpcode) throws(CheckpointError.Problem) {
        switch opcode {
        case .proto:
            let version = try reader.integer(UInt8.self)
            guard version <= 5 else { throw .unsupported("pickle protocol \(version)") }
        case .frame: _ = try reader.take(8)
        case .stop: break
        case .mark: marks.append(stack.count)
        case .pop:
            if marks.last == stack.count { marks.removeLast() } else { _ = try pop() }
        case .popMark: _ = try popToMark()
        case .dup: stack.append(try top())
        case .put, .binput, .longBinput, .memoize, .get, .binget, .longBinget: try stepMemo(opcode)
        case .none, .newTrue, .newFalse, .int, .binint, .binint1, .binint2, .long, .long1, .long4, .float, .binfloat:
            stack.append(try number(opcode))
        case .string, .binstring, .shortBinstring, .unicode, .binunicode, .shortBinunicode, .binunicode8, .binbytes,
            .shortBinbytes, .binbytes8, .bytearray8:
            stack.append(try text(opcode))
        case .emptyTuple, .tuple, .tuple1, .tuple2, .tuple3, .emptyList, .list, .append, .appends, .emptyDict, .dict,
            .setitem, .setitems, .emptySet, .additems, .frozenset:
            try stepContainer(opcode)
        case .global, .stackGlobal, .reduce, .newobj, .build, .binpersid: try stepObject(opcode)
        }
    }

    // MARK: The stack

    private func malformed(_ what: String) -> CheckpointError.Problem {
        .damaged("its pickle is malformed before offset \(position): \(what)")
    }

    private func top() throws(CheckpointError.Problem) -> PickleValue {
        guard let value = stack.last, stack.count > marks.last ?? 0 else { throw malformed("the stack is empty") }
        return value
    }

    private mutating func pop() throws(CheckpointError.Problem) -> PickleValue {
        let value = try top()
        stack.removeLast()
        return value
    }

    private mutating func pop(_ count: Int) throws(CheckpointError.Problem) -> [PickleValue] {
        guard stack.count - (marks.last ?? 0) >= count else { throw malformed("the stack is empty") }
        defer { stack.removeLast(count) }
        return Array(stack.suffix(count))
    }

    private mutating func popToMark() throws(CheckpointError.Problem) -> [PickleValue] {
        guard let mark = marks.popLast() else { throw malformed("no mark") }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    private mutating func stepMemo(_ opcode: PickleOpcode) throws(CheckpointError.Problem) {
        let index: Int
        switch opcode {
        case .binput, .binget: index = Int(try reader.integer(UInt8.self))
        case .longBinput, .longBinget: index = Int(try reader.integer(UInt32.self))
        case .memoize: index = memo.count
        default:
            guard let number = Int(try reader.line()) else { throw malformed("a memo index") }
            index = number
        }
        switch opcode {
        case .get, .binget, .longBinget:
            guard let value = memo[index] else { throw malformed("nothing was kept as \(index)") }
            stack.append(value)
        default:
            memo[index] = try top()
        }
    }

    // MARK: Plain values

    private mutating func number(_ opcode: PickleOpcode) throws(CheckpointError.Problem) -> PickleValue {
        switch opcode {
        case .none: return .none
        case .newTrue: return .bool(true)
        case .newFalse: return .bool(false)
        case .binint: return .integer(Int(try reader.integer(Int32.self)))
        case .binint1: return .integer(Int(try reader.integer(UInt8.self)))
        case .binint2: return .integer(Int(try reader.integer(UInt16.self)))
        case .long1: return longInteger(try reader.take(Int(try reader.integer(UInt8.self))))
        case .long4: return longInteger(try reader.take(Int(try reader.integer(Int32.self))))
        case .binfloat: return .float(Double(bitPattern: try reader.integer(UInt64.self).byteSwapped))
        case .float:
            guard let value = Double(try reader.line()) else { throw malformed("a number") }
            return .float(value)
        default:
            // In protocols 0 and 1 these two lines are how a bool is written.
            switch try reader.line() {
            case "00": return .bool(false)
            case "01": return .bool(true)
            case let line:
                let digits = line.last == "L" ? line.dropLast() : line[...]
                guard !digits.isEmpty, digits.allSatisfy({ $0.isNumber || $0 == "-" }) else {
                    throw malformed("a number")
                }
                return Int(digits).map(PickleValue.integer) ?? .opaque("int")
            }
        }
    }

    /// A little-endian two's complement number of any length; those that do not fit into `Int` have no use here.
    private func longInteger(_ bytes: UnsafeRawBufferPointer) -> PickleValue {
        guard bytes.count <= 8 else { return .opaque("int") }
        guard let last = bytes.last else { return .integer(0) }
        let sign: UInt64 = last & 0x80 == 0 ? 0 : .max
        return .integer(Int(Int64(bitPattern: bytes.reversed().reduce(sign) { $0 << 8 | UInt64($1) })))
    }

    private mutating func text(_ opcode: PickleOpcode) throws(CheckpointError.Problem) -> PickleValue {
        switch opcode {
        case .shortBinstring, .shortBinunicode:
            return .string(try reader.take(Int(try reader.integer(UInt8.self))).utf8Text)
        case .binstring: return .string(try reader.take(Int(try reader.integer(Int32.self))).utf8Text)
        case .binunicode: return .string(try reader.take(Int(try reader.integer(UInt32.self))).utf8Text)
        case .binunicode8: return .string(try reader.take(try reader.size64()).utf8Text)
        case .unicode: return .string(try reader.line())
        case .string:
            let line = try reader.line()
            guard line.utf8.count >= 2, let quote = line.first, quote == "'" || quote == "\"", line.last == quote else {
                throw malformed("a string without quotes")
            }
            return .string(String(line.dropFirst().dropLast()))
        case .shortBinbytes: _ = try reader.take(Int(try reader.integer(UInt8.self)))
        case .binbytes: _ = try reader.take(Int(try reader.integer(UInt32.self)))
        default: _ = try reader.take(try reader.size64())
        }
        return .opaque("bytes")
    }

    // MARK: Containers

    private mutating func stepContainer(_ opcode: PickleOpcode) throws(CheckpointError.Problem) {
        switch opcode {
        case .emptyTuple: pushTuple([])
        case .tuple: pushTuple(try popToMark())
        case .tuple1: pushTuple(try pop(1))
        case .tuple2: pushTuple(try pop(2))
        case .tuple3: pushTuple(try pop(3))
        case .emptyList: pushList([])
        case .list: pushList(try popToMark())
        case .append: try extend(with: [try pop()])
        case .appends: try extend(with: try popToMark())
        case .emptyDict: pushDictionary([])
        case .dict: pushDictionary(try pairs(try popToMark()))
        case .setitem: try set(try pairs(try pop(2)))
        case .setitems: try set(try pairs(try popToMark()))
        case .emptySet: stack.append(.opaque("set"))
        case .additems: try extend(with: try popToMark())
        default:
            _ = try popToMark()
            stack.append(.opaque("frozenset"))
        }
    }

    private mutating func pushTuple(_ elements: [PickleValue]) {
        objects.tuples.append(elements)
        stack.append(.tuple(objects.tuples.count - 1))
    }

    private mutating func pushList(_ elements: [PickleValue]) {
        objects.lists.append(elements)
        stack.append(.list(objects.lists.count - 1))
    }

    private mutating func pushDictionary(_ pairs: [(key: PickleValue, value: PickleValue)]) {
        objects.dictionaries.append(pairs)
        stack.append(.dictionary(objects.dictionaries.count - 1))
    }

    private func pairs(
        _ elements: [PickleValue]
    ) throws(CheckpointError.Problem) -> [(key: PickleValue, value: PickleValue)] {
        guard elements.count.isMultiple(of: 2) else { throw malformed("a key without a value") }
        return stride(from: 0, to: elements.count, by: 2).map { (elements[$0], elements[$0 + 1]) }
    }

    private mutating func extend(with elements: [PickleValue]) throws(CheckpointError.Problem) {
        switch try top() {
        case .list(let index): objects.lists[index] += elements
        case .opaque: break
        default: throw malformed("elements for what is not a list")
        }
    }

    private mutating func set(_ pairs: [(key: PickleValue, value: PickleValue)]) throws(CheckpointError.Problem) {
        switch try top() {
        case .dictionary(let index): objects.dictionaries[index] += pairs
        case .opaque: break
        default: throw malformed("items for what is not a dict")
        }
    }

    // MARK: Objects

    private mutating func stepObject(_ opcode: PickleOpcode) throws(CheckpointError.Problem) {
        switch opcode {
        case .global:
            let module = try reader.line()
            stack.append(.global(try PickleGlobal(module: module, name: try reader.line())))
        case .stackGlobal:
            let names = try pop(2)
            guard case .string(let module) = names[0], case .string(let name) = names[1] else {
                throw malformed("a global without a name")
            }
            stack.append(.global(try PickleGlobal(module: module, name: name)))
        case .reduce, .newobj:
            let call = try pop(2)
            guard case .global(let global) = call[0], case .tuple(let arguments) = call[1] else {
                throw malformed("a call of what is not a function")
            }
            stack.append(try result(of: global, arguments: objects.tuples[arguments]))
        case .build:
            // The state of an object: a state dict's `_metadata` or the attributes of something opaque.
            _ = try pop()
            _ = try top()
        default:
            stack.append(try storage(try pop()))
        }
    }

    /// What a call would yield.
    private mutating func result(
        of global: PickleGlobal, arguments: [PickleValue]
    ) throws(CheckpointError.Problem) -> PickleValue {
        switch global.kind {
        case .dictionary: return try dictionary(arguments)
        case .size:
            guard arguments.count == 1, case .tuple = arguments[0] else { throw malformed("torch.Size") }
            return arguments[0]
        case .rebuildTensor, .rebuildTypedTensor: return try tensor(global, arguments)
        case .rebuildParameter:
            guard let first = arguments.first, case .tensor = first else { throw malformed("a parameter") }
            return first
        case .rebuildFromType:
            guard arguments.count == 4, case .global(let inner) = arguments[0], case .tuple(let index) = arguments[2]
            else { throw malformed("a tensor of a type of its own") }
            // One level only: a call of this function within itself could be nested without end.
            if case .rebuildFromType = inner.kind { throw malformed("a tensor of a type of its own") }
            return try result(of: inner, arguments: objects.tuples[index])
        case .storage, .dtype: throw malformed("a call of \(global.name)")
        case .opaque: return .opaque(typeName(of: global, arguments))
        }
    }

    private func typeName(of global: PickleGlobal, _ arguments: [PickleValue]) -> String {
        // `copyreg._reconstructor(class, base, state)` makes an object of that class.
        if global.name.hasSuffix("._reconstructor"), case .global(let type)? = arguments.first { return type.name }
        return global.name
    }

    /// `OrderedDict()`, `OrderedDict([(key, value), …])` as Python 2 wrote it, `defaultdict(type)`.
    private mutating func dictionary(_ arguments: [PickleValue]) throws(CheckpointError.Problem) -> PickleValue {
        var items: [(key: PickleValue, value: PickleValue)] = []
        if case .list(let index)? = arguments.first {
            copyBudget -= objects.lists[index].count
            guard copyBudget >= 0 else { throw malformed("the same items over and over") }
            for item in objects.lists[index] {
                guard let pair = objects.elements(item), pair.count == 2 else { throw malformed("a dict's items") }
                items.append((pair[0], pair[1]))
            }
        }
        objects.dictionaries.append(items)
        return .dictionary(objects.dictionaries.count - 1)
    }

    /// `(storage, offset, size, stride, requires_grad, hooks[, dtype][, metadata])`
    private mutating func tensor(
        _ global: PickleGlobal, _ arguments: [PickleValue]
    ) throws(CheckpointError.Problem) -> PickleValue {
        guard arguments.count >= 4, case .storage(let storage) = arguments[0], case .integer(let offset) = arguments[1],
            let shape = objects.integers(arguments[2]), let strides = objects.integers(arguments[3])
        else { throw malformed("a tensor") }
        copyBudget -= shape.count + strides.count
        guard copyBudget >= 0 else { throw malformed("the same shape over and over") }

        var dtype = objects.storages[storage].dtype
        var rest = arguments.dropFirst(6)
        if case .rebuildTypedTensor = global.kind {
            guard case .global(let type)? = rest.popFirst(), case .dtype(let named) = type.kind else {
                throw malformed("a tensor without an element type")
            }
            dtype = named
        }
        // A view that is conjugate or negative on paper only.
        if case .dictionary(let index)? = rest.first {
            for (_, value) in objects.dictionaries[index] {
                if case .bool(true) = value { throw .unsupported("a lazily conjugated or negated tensor") }
            }
        }
        objects.tensors.append(
            PickledTensor(storage: storage, dtype: dtype, offset: offset, shape: shape, strides: strides))
        return .tensor(objects.tensors.count - 1)
    }

    /// `('storage', type, key, location, count[, view])`, where `view` is `None` or `(key, offset, count)`.
    private mutating func storage(_ identifier: PickleValue) throws(CheckpointError.Problem) -> PickleValue {
        guard let parts = objects.elements(identifier), parts.count >= 5, case .string("storage") = parts[0],
            case .global(let type) = parts[1], case .storage(let dtype) = type.kind,
            case .string(let key) = parts[2], case .integer(let count) = parts[4], count >= 0
        else { throw malformed("a storage") }
        var part: Range<Int>?
        if parts.count > 5, let view = objects.elements(parts[5]) {
            guard view.count == 3, case .integer(let offset) = view[1], case .integer(let length) = view[2],
                offset >= 0, length >= 0, offset <= count, length <= count - offset
            else { throw malformed("a part of a storage") }
            part = offset..<offset + length
        }
        objects.storages.append(PickledStorage(key: key, dtype: dtype, count: count, part: part))
        return .storage(objects.storages.count - 1)
    }
}
