import Tensors

/// Why a state dict does not fit a module, an optimizer or averages: all keys at once.
public struct StateDictError: Error, CustomStringConvertible {
    /// What does not fit what.
    private let mismatch: String
    /// Keys of the module that the state dict lacks.
    public let missing: [String]
    /// Keys of the state dict that the module lacks.
    public let unexpected: [String]
    /// Keys whose shapes differ.
    public let misshaped: [(key: String, expected: [Int], found: [Int])]

    init(
        _ mismatch: String = "the weights do not fit the model", missing: [String], unexpected: [String],
        misshaped: [(key: String, expected: [Int], found: [Int])]
    ) {
        self.mismatch = mismatch
        self.missing = missing
        self.unexpected = unexpected
        self.misshaped = misshaped
    }

    /// The first keys of each kind and how many more there are: of a network for another one, these are hundreds.
    public var description: String {
        let shapes = misshaped.map { "\($0.key) is \($0.found), expected \($0.expected)" }
        let parts = [("missing keys", missing), ("unexpected keys", unexpected), ("wrong shapes", shapes)]
            .filter { !$0.1.isEmpty }
            .map { kind, all in
                let shown = all.prefix(10).joined(separator: ", ")
                return "\(kind): \(shown)" + (all.count > 10 ? " and \(all.count - 10) more" : "")
            }
        return "\(mismatch): " + parts.joined(separator: "; ")
    }
}

extension Module {
    /// The parameters and buffers of this module and all below it, under PyTorch's keys and in its shapes.
    public func stateDict() -> StateDict {
        var result = StateDict()
        for (key, member) in namedMembers() { result[key] = member.stateEntry }
        return result
    }

    /// The keys of the state dict with their shapes, without reading any value.
    public var stateKeysAndShapes: [(key: String, shape: [Int])] {
        namedMembers().map { ($0.key, $0.member.stateShape) }
    }

    /// Loads a state dict: all of it or, on an error, nothing.
    ///
    /// A tensor that the module holds under several keys needs one of them. Checkpoints from before PyTorch 0.4.1 lack
    /// batch norm's `num_batches_tracked`, and do not need it, as in PyTorch.
    ///
    /// - Parameter strict: whether every key must be on both sides; shapes must agree in any case.
    /// - Returns: what was missing and unexpected; empty when strict.
    /// - Throws: ``StateDictError`` with every missing, unexpected and mis-shaped key, or the error of reading a file.
    @discardableResult
    public func load(
        stateDict: StateDict, strict: Bool = true
    ) throws -> (missing: [String], unexpected: [String]) {
        let members = namedMembers()
        let known = Set(members.map(\.key))
        let unexpected = stateDict.keys.filter { !known.contains($0) }
        let found = Set(members.filter { stateDict[$0.key] != nil }.compactMap { $0.member.identity })
        let missing = members.filter { key, member in
            !found.contains(member.identity!) && !key.hasSuffix("num_batches_tracked")
        }.map(\.key)
        let misshaped = members.compactMap { key, member in
            stateDict[key].flatMap {
                $0.shape == member.stateShape ? nil : (key: key, expected: member.stateShape, found: $0.shape)
            }
        }
        if !misshaped.isEmpty || (strict && !(missing.isEmpty && unexpected.isEmpty)) {
            throw StateDictError(
                missing: strict ? missing : [], unexpected: strict ? unexpected : [], misshaped: misshaped)
        }
        // Everything is read before anything is written: a file may still fail.
        let writes = try members.compactMap { key, member in try stateDict[key].map { try member.reading($0) } }
        for write in writes { write() }
        return (missing, unexpected)
    }
}

extension Module.Member {
    /// The object that holds the state; `nil` for children.
    fileprivate var identity: ObjectIdentifier? {
        switch self {
        case .child, .list: nil
        case .parameter(_, let parameter): ObjectIdentifier(parameter)
        case .buffer(_, let buffer): ObjectIdentifier(buffer)
        case .integers(_, let integers): ObjectIdentifier(integers)
        }
    }

    fileprivate var stateShape: [Int] {
        switch self {
        case .child, .list: []
        case .parameter(_, let parameter): parameter.stateShape
        case .buffer(_, let buffer): buffer.shape
        case .integers(_, let integers): integers.shape
        }
    }

    fileprivate var stateEntry: StateDict.Entry? {
        switch self {
        case .child, .list: return nil
        case .parameter(_, let parameter):
            let (data, layout) = (parameter.data, parameter.layout)
            return StateDict.Entry(shape: parameter.stateShape) { target in
                layout.toState(data).withUnsafeScalars { _ = target.initialize(from: $0) }
            }
        case .buffer(_, let buffer): return StateDict.Entry(buffer.value)
        case .integers(_, let buffer):
            let values = buffer.values
            return StateDict.Entry(shape: buffer.shape) { values }
        }
    }

    /// Reads an entry; what is returned writes it.
    fileprivate func reading(_ entry: StateDict.Entry) throws -> () -> Void {
        switch self {
        case .child, .list:
            return {}
        case .parameter(_, let parameter):
            let value = parameter.layout.fromState(try entry.tensor())
            return { parameter.data = value }
        case .buffer(_, let buffer):
            let value = try entry.tensor()
            return { buffer.value = value }
        case .integers(_, let buffer):
            let values = try entry.integers()
            return { buffer.values = values }
        }
    }
}
