import Layers

extension Checkpoint {
    /// The state dict without a prefix that all its keys have in common, and that prefix (empty if there is none).
    ///
    /// A prefix of the list is taken off only when **every** key begins with it and has something behind it; this
    /// repeats until none fits, so that `module.backbone.conv1.weight` becomes `conv1.weight`. A recognizer's
    /// checkpoint, whose keys are `backbone.…` and `classifier.…`, keeps both.
    ///
    /// - Parameter prefixes: with their final dots. `module.` is what DataParallel adds.
    public func strippingCommonPrefix(
        _ prefixes: [String] = ["module.", "backbone."]
    ) -> (stateDict: StateDict, prefix: String) {
        var length = 0
        var prefix = ""
        let keys = stateDict.keys.map { Array($0.utf8) }
        guard !keys.isEmpty else { return (stateDict, "") }
        while let next = prefixes.first(where: { candidate in
            let bytes = Array(candidate.utf8)
            return !bytes.isEmpty
                && keys.allSatisfy { $0.count > length + bytes.count && $0[length...].starts(with: bytes) }
        }) {
            prefix += next
            length += next.utf8.count
        }
        guard length > 0 else { return (stateDict, "") }
        return (stateDict.mapKeys { String(decoding: $0.utf8.dropFirst(length), as: UTF8.self) }, prefix)
    }
}
