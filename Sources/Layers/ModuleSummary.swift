import Tensors

/// What each module of a tree computes for an input of a given shape; nothing is run.
public struct ModuleSummary: Sendable {
    public struct Row: Sendable {
        public let path: [String]
        public let type: String
        /// The shape of the output, `[N, H, W, C]` for images.
        public let outputShape: [Int]
        /// The number of elements of the module's parameters and of those below it.
        public let parameters: Int
        /// Multiply-adds of the module and of those below it, for the whole batch.
        public let multiplyAdds: Int
    }

    /// The modules in the order in which they start to run; a module that runs twice comes twice.
    public let rows: [Row]

    /// - Precondition: the module takes an input of that shape.
    public init(of module: Module, inputShape: [Int]) {
        let paths = Dictionary(
            module.namedModules.map { (ObjectIdentifier($0.module), $0.path) }, uniquingKeysWith: { first, _ in first })
        let trace = Trace(.everything)
        var rows: [Row?] = []
        let observer = ForwardObserver { module, _ in
            let index = rows.count
            rows.append(nil)
            let before = trace.multiplyAdds
            return { output in
                rows[index] = Row(
                    path: paths[ObjectIdentifier(module)] ?? [], type: module.typeName, outputShape: output.shape,
                    parameters: module.parameterCount, multiplyAdds: trace.multiplyAdds - before)
            }
        }
        _ = observer.during { trace.capture { module(trace.symbol(inputShape)) } }
        self.rows = rows.compactMap { $0 }
    }

    /// The row of the whole module.
    public var total: Row { rows[0] }

    /// The rows of modules at most `depth` below the root as a table.
    public func table(depth: Int = .max) -> String {
        let header = ["path", "type", "output shape", "parameters", "multiply-adds"]
        let cells = rows.filter { $0.path.count <= depth }.map { row in
            [
                row.path.isEmpty ? "(root)" : row.path.joined(separator: "."), row.type,
                "[" + row.outputShape.map(String.init).joined(separator: ", ") + "]", row.parameters.grouped,
                row.multiplyAdds.grouped,
            ]
        }
        let widths = header.indices.map { column in ([header] + cells).map { $0[column].count }.max()! }
        return ([header] + cells).map { row in
            row.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                return column < 3 ? row[column] + padding : padding + row[column]
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}

extension Int {
    /// The digits in groups of three, separated by commas.
    var grouped: String {
        let digits = String(self)
        return digits.enumerated().reduce(into: "") { text, digit in
            if digit.offset > 0, (digits.count - digit.offset) % 3 == 0, text != "-" { text += "," }
            text.append(digit.element)
        }
    }
}
