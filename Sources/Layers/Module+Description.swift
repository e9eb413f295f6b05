extension Module: CustomStringConvertible {
    /// The tree in PyTorch's indented form.
    public var description: String {
        let children = namedChildren
        guard !children.isEmpty else { return "\(typeName)(\(hyperparameterDescription))" }
        let lines = children.map { name, module in
            "  (\(name)): " + module.description.split(separator: "\n").joined(separator: "\n  ")
        }
        return "\(typeName)(\n" + lines.joined(separator: "\n") + "\n)"
    }
}
