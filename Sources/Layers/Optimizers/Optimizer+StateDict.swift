import Tensors

/// A count of steps in an optimizer's state that none can be.
public struct StepCountError: Error, CustomStringConvertible {
    public let key: String
    public let value: Int64

    public var description: String { "\(key) is \(value), which is no number of steps" }
}

extension Optimizer {
    /// What the optimizer needs to go on: for each parameter that it has changed, `step.<key>` and one tensor for each
    /// of ``stateNames``, as `exp_avg.<key>`, in PyTorch's shapes as the parameter itself. Learning rates, decay and
    /// other settings are not in it.
    public func stateDict() -> StateDict {
        var result = StateDict()
        for (key, parameter) in groups.flatMap(\.parameters) {
            guard let state = states[key] else { continue }
            let steps = Int64(state.steps)
            result[Self.stepKey(key)] = StateDict.Entry(shape: []) { [steps] }
            for (name, tensor) in zip(stateNames, state.tensors) {
                let layout = parameter.layout
                result["\(name).\(key)"] = StateDict.Entry(shape: parameter.stateShape) { target in
                    layout.toState(tensor).withUnsafeScalars { _ = target.initialize(from: $0) }
                }
            }
        }
        return result
    }

    /// Goes on from a saved state: all of it or, on an error, nothing. Parameters that it does not name start anew.
    ///
    /// - Throws: ``StateDictError`` for keys of no parameter, parts of a parameter's state that are missing, and wrong
    ///   shapes; ``StepCountError``; or the error of reading a file.
    public func load(stateDict: StateDict) throws {
        var expected: Set<String> = []
        var missing: [String] = []
        var misshaped: [(key: String, expected: [Int], found: [Int])] = []
        var saved: [(key: String, parameter: Parameter)] = []
        for (key, parameter) in groups.flatMap(\.parameters) {
            let shapes = [(Self.stepKey(key), [])] + stateNames.map { ("\($0).\(key)", parameter.stateShape) }
            expected.formUnion(shapes.map(\.0))
            guard shapes.contains(where: { stateDict[$0.0] != nil }) else { continue }
            saved.append((key, parameter))
            for (name, shape) in shapes {
                guard let entry = stateDict[name] else {
                    missing.append(name)
                    continue
                }
                if entry.shape != shape { misshaped.append((name, shape, entry.shape)) }
            }
        }
        let unexpected = stateDict.keys.filter { !expected.contains($0) }
        guard missing.isEmpty, unexpected.isEmpty, misshaped.isEmpty else {
            throw StateDictError(
                "the state does not fit the optimizer", missing: missing, unexpected: unexpected, misshaped: misshaped)
        }
        var states: [String: State] = [:]
        for (key, parameter) in saved {
            let steps = try stateDict[Self.stepKey(key)]!.integers()[0]
            guard 1...(1 << 53) ~= steps else { throw StepCountError(key: Self.stepKey(key), value: steps) }
            let tensors = try stateNames.map {
                parameter.layout.fromState(try stateDict["\($0).\(key)"]!.tensor())
            }
            states[key] = State(steps: Int(steps), tensors: tensors)
        }
        self.states = states
    }

    private static func stepKey(_ key: String) -> String { "step.\(key)" }
}
