/// A path that leads nowhere, or to a place that does not take a module.
public enum ModulePathError: Error, Equatable, CustomStringConvertible {
    case noChild(named: String, at: [String], type: String, children: [String])
    case emptyPath
    case wrongType(at: [String], accepts: String, got: String)

    public var description: String {
        switch self {
        case .noChild(let name, let path, let type, let children):
            let place = path.isEmpty ? "the root" : "\"\(path.joined(separator: "."))\""
            let names = children.isEmpty ? "no children" : "the children " + children.joined(separator: ", ")
            return "no module \"\(name)\" at \(place): a \(type) with \(names)"
        case .emptyPath:
            return "an empty path names the module itself, which cannot be replaced in itself"
        case .wrongType(let path, let accepts, let got):
            return "the module at \"\(path.joined(separator: "."))\" must be a \(accepts), not a \(got)"
        }
    }
}

extension Module {
    /// The module at a path of children's names; the empty path is the module itself.
    public func module(at path: [String]) throws(ModulePathError) -> Module {
        var module = self
        for (depth, name) in path.enumerated() {
            guard let child = module.namedChildren.first(where: { $0.name == name })?.module else {
                throw .noChild(
                    named: name, at: Array(path[..<depth]), type: module.typeName,
                    children: module.namedChildren.map(\.name))
            }
            module = child
        }
        return module
    }

    /// Replaces the module at a path of children's names; the next forward pass uses the new one.
    public func setModule(at path: [String], to module: Module) throws(ModulePathError) {
        guard let name = path.last else { throw .emptyPath }
        let parent = try self.module(at: path.dropLast())
        guard let slot = parent.childSlots.first(where: { $0.name == name })?.slot else {
            throw .noChild(
                named: name, at: path.dropLast(), type: parent.typeName, children: parent.namedChildren.map(\.name))
        }
        guard slot.replace(with: module) else {
            throw .wrongType(at: path, accepts: slot.acceptedType, got: module.typeName)
        }
    }

    /// Freezes the parameters below a path, as `freeze()` of the module there.
    public func freeze(at path: [String]) throws(ModulePathError) { try module(at: path).freeze() }
}
