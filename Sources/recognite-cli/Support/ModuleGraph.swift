import Recognite

/// A module tree as a graph for Graphviz.
struct ModuleGraph {
    private let nodes: [(path: [String], module: Module)]
    private let name: String

    init(_ root: Module, name: String, depth: Int) {
        nodes = root.namedModules.filter { $0.path.count <= depth }
        self.name = name
    }

    var dot: String {
        var lines = ["digraph \"\(name)\" {", "  rankdir=LR; node [shape=box, fontname=\"Helvetica\"];"]
        for (path, module) in nodes {
            let title = path.last ?? name
            let text = [title, module.typeName + "(\(module.hyperparameterDescription))"].map(Self.escaped)
            lines.append("  \(Self.identifier(path)) [label=\"\(text.joined(separator: "\\n"))\"];")
            if !path.isEmpty { lines.append("  \(Self.identifier(path.dropLast())) -> \(Self.identifier(path));") }
        }
        return (lines + ["}"]).joined(separator: "\n")
    }

    private static func identifier(_ path: some Collection<String>) -> String {
        "\"/" + escaped(path.joined(separator: "/")) + "\""
    }

    private static func escaped(_ text: String) -> String {
        String(text.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : [$0] })
    }
}
