import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Averages of a model's parameters over its training, which often recognize better than the last ones: after each step
/// `average = decay · average + (1 - decay) · parameter`. Buffers, as batch norm's statistics, are the model's latest.
/// As timm's `ModelEmaV3`, and `torch.optim.swa_utils.AveragedModel` with its exponential average.
///
/// It holds the parameters and buffers that the model had when it was made; a module that is replaced later is not part
/// of it.
public final class ExponentialMovingAverage {
    public let decay: Double
    /// Whether the decay begins at 0 and rises as `1 - (1 + updates)^(-2/3)`, so that a model's random beginning is
    /// soon forgotten.
    public let warmsUp: Bool
    /// The number of updates so far.
    public private(set) var updates = 0

    private let model: Module
    private let parameters: [Parameter]
    private let buffers: [Buffer]
    private let integerBuffers: [IntegerBuffer]
    /// In memory's layout; buffers are held as they were at the last update.
    private var averages: Values

    /// Values of all parameters and buffers.
    private struct Values {
        var parameters: [Tensor]
        var buffers: [Tensor]
        var integers: [[Int64]]
    }

    /// The averages begin at the model's values.
    public init(of model: Module, decay: Double = 0.9999, warmsUp: Bool = false) {
        precondition(0..<1 ~= decay, "ExponentialMovingAverage: decay \(decay)")
        self.model = model
        self.decay = decay
        self.warmsUp = warmsUp
        let members = model.namedMembers().map(\.member)
        parameters = model.parameters()
        buffers = members.compactMap { if case .buffer(_, let buffer) = $0 { buffer } else { nil } }
        integerBuffers = members.compactMap { if case .integers(_, let buffer) = $0 { buffer } else { nil } }
        averages = Self.values(parameters, buffers, integerBuffers)
    }

    /// The decay of the next update.
    public var currentDecay: Double {
        warmsUp ? min(decay, 1 - pow(1 + Double(updates), -2.0 / 3)) : decay
    }

    /// Takes the model's values into the averages; to be called after each step of the optimizer.
    public func update() {
        let weight = Float(1 - currentDecay)
        for (index, parameter) in parameters.enumerated() {
            averages.parameters[index].move(toward: parameter.data, by: weight)
        }
        averages.buffers = buffers.map(\.value)
        averages.integers = integerBuffers.map(\.values)
        updates += 1
    }

    /// Runs `body` with the averages in the model's place; afterwards the model has its own values again, whatever
    /// `body` did to them.
    public func withAverages<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        let own = Self.values(parameters, buffers, integerBuffers)
        set(averages)
        defer { set(own) }
        return try body()
    }

    private static func values(
        _ parameters: [Parameter], _ buffers: [Buffer], _ integers: [IntegerBuffer]
    ) -> Values {
        Values(parameters: parameters.map(\.data), buffers: buffers.map(\.value), integers: integers.map(\.values))
    }

    private func set(_ values: Values) {
        for (parameter, value) in zip(parameters, values.parameters) { parameter.data = value }
        for (buffer, value) in zip(buffers, values.buffers) { buffer.value = value }
        for (buffer, value) in zip(integerBuffers, values.integers) { buffer.values = value }
    }
}

// MARK: - Saving

extension ExponentialMovingAverage {
    private static let counter = "n_averaged"
    private static let prefix = "module."

    /// The averages as a state dict of the model, to be loaded into one.
    public func modelStateDict() -> StateDict { withAverages { model.stateDict() } }

    /// The averages under `module.<key>` and the number of updates under `n_averaged`, as PyTorch's `AveragedModel`.
    public func stateDict() -> StateDict {
        var result = StateDict()
        let count = Int64(updates)
        result[Self.counter] = StateDict.Entry(shape: []) { [count] }
        for (key, entry) in modelStateDict() { result[Self.prefix + key] = entry }
        return result
    }

    /// Goes on from saved averages: all of them or, on an error, nothing. The model keeps its own values.
    ///
    /// - Throws: ``StateDictError`` for keys that are missing or unexpected and for wrong shapes, ``StepCountError``,
    ///   or the error of reading a file.
    public func load(stateDict: StateDict) throws {
        let foreign = stateDict.keys.filter { $0 != Self.counter && !$0.hasPrefix(Self.prefix) }
        guard let counter = stateDict[Self.counter], foreign.isEmpty, counter.shape.isEmpty else {
            throw StateDictError(
                "the state is none of averages", missing: stateDict[Self.counter] == nil ? [Self.counter] : [],
                unexpected: foreign,
                misshaped: stateDict[Self.counter].flatMap {
                    $0.shape.isEmpty ? nil : [(Self.counter, [], $0.shape)]
                } ?? [])
        }
        let count = try counter.integers()[0]
        guard 0...(1 << 53) ~= count else { throw StepCountError(key: Self.counter, value: count) }
        let weights = stateDict.mapKeys {
            $0.hasPrefix(Self.prefix) ? String($0.dropFirst(Self.prefix.count)) : nil
        }
        let own = Self.values(parameters, buffers, integerBuffers)
        try model.load(stateDict: weights)
        averages = Self.values(parameters, buffers, integerBuffers)
        set(own)
        updates = Int(count)
    }
}
