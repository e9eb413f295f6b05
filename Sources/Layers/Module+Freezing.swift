/// Prefixes of paths that name nothing to freeze.
public struct FreezeError: Error, Equatable, CustomStringConvertible {
    /// The prefixes that match no parameter.
    public let unmatched: [String]
    /// The names of the module's children that have parameters.
    public let children: [String]

    public var description: String {
        "nothing to freeze below " + unmatched.map { "\"\($0)\"" }.joined(separator: ", ")
            + "; there is " + children.joined(separator: ", ")
    }
}

extension Module {
    /// Stops the parameters at or below these paths from getting gradients: optimizers then leave them as they are.
    ///
    /// A prefix is of whole components and relative to this module: `layer1` or `layer1.0` of a ResNet, which is the
    /// `backbone` of a recognizer. All prefixes are checked before anything is frozen.
    ///
    /// Batch norms in frozen parts still use and update the statistics of the batch while they are in training mode, as
    /// in PyTorch; put those modules into evaluation mode to keep them.
    ///
    /// - Throws: ``FreezeError`` with every prefix that matches no parameter.
    public func freeze(pathPrefixes: [String]) throws(FreezeError) {
        let all = namedParameters()
        let matches = pathPrefixes.map { prefix in all.filter { $0.key.isBelow(path: prefix) } }
        let unmatched = zip(pathPrefixes, matches).filter { $0.1.isEmpty }.map(\.0)
        guard unmatched.isEmpty else {
            let children = namedChildren.filter { $0.module.parameterCount > 0 }.map(\.name)
            throw FreezeError(unmatched: unmatched, children: children)
        }
        for (_, parameter) in matches.joined() { parameter.requiresGradient = false }
    }
}
