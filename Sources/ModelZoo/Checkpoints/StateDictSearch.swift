/// Finds the mapping of names to tensors in what a training script has saved.
struct StateDictSearch {
    let objects: PickleObjects

    /// Under these names, in this order, scripts keep the weights beside an optimizer and other entries.
    static let knownNames = [
        "model", "state_dict", "model_state_dict", "net", "network", "weights", "params", "model_ema", "ema",
    ]

    /// Nesting of dictionaries is followed this far.
    private static let depthLimit = 6

    init(_ objects: PickleObjects) { self.objects = objects }

    /// The path of keys to the mapping, and its items.
    ///
    /// At each level: a mapping under one of the known names; else, if there are tensors at this level, the level
    /// itself; else the only nested mapping that leads to tensors. Known names come first because a script may keep a
    /// lone tensor, such as the best accuracy, beside the weights.
    func find(in root: PickleValue) -> (path: [String], items: [(key: String, value: PickleValue)])? {
        guard case .dictionary(let index) = root else { return nil }
        // Each dictionary is looked at once, however often the file refers to it.
        var visited: Set<Int> = []
        return find(index, depth: 0, visited: &visited)
    }

    /// The items of a dictionary under text keys; of equal keys the last value counts.
    func items(_ index: Int) -> [(key: String, value: PickleValue)] {
        var places: [String: Int] = [:]
        var items: [(key: String, value: PickleValue)] = []
        for case (.string(let key), let value) in objects.dictionaries[index] {
            if let place = places[key] {
                items[place].value = value
            } else {
                places[key] = items.count
                items.append((key, value))
            }
        }
        return items
    }

    private func find(
        _ index: Int, depth: Int, visited: inout Set<Int>
    ) -> (path: [String], items: [(key: String, value: PickleValue)])? {
        guard depth < Self.depthLimit, visited.insert(index).inserted else { return nil }
        let items = items(index)
        for name in Self.knownNames {
            if case .dictionary(let nested)? = items.first(where: { $0.key == name })?.value,
                let found = find(nested, depth: depth + 1, visited: &visited)
            {
                return ([name] + found.path, found.items)
            }
        }
        if items.contains(where: { if case .tensor = $0.value { true } else { false } }) { return ([], items) }

        var only: (path: [String], items: [(key: String, value: PickleValue)])?
        for (name, value) in items {
            guard case .dictionary(let nested) = value,
                let found = find(nested, depth: depth + 1, visited: &visited)
            else { continue }
            guard only == nil else { return nil }
            only = ([name] + found.path, found.items)
        }
        return only
    }
}
