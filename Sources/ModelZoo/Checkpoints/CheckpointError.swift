import Tensors

/// Why a checkpoint could not be read, with the file and, where one is concerned, the tensor's key.
public struct CheckpointError: Error, Sendable {
    public let path: String
    /// The tensor whose elements could not be read; `nil` when the file as a whole is at fault.
    public let key: String?
    public let problem: Problem

    init(path: String, key: String? = nil, problem: Problem) {
        self.path = path
        self.key = key
        self.problem = problem
    }

    public enum Problem: Error, Sendable {
        case file(FileError)
        /// The file has no bytes.
        case empty
        /// The file is none of the formats that are read; the text says what it looks like.
        case unknownFormat(String)
        /// The file contradicts itself or ends too early; the text says where.
        case damaged(String)
        /// A pickle names a function that is not among the few that state dicts need. It was not called.
        case refused(global: String)
        /// A pickle holds an object of a class of its own, such as a whole module.
        case pickledObject(type: String)
        /// The file may be valid, but uses something that is not read here.
        case unsupported(String)
        /// There is no mapping of tensors; the entries that there are.
        case noTensors([Checkpoint.OtherEntry])
    }
}

extension CheckpointError: CustomStringConvertible {
    public var description: String {
        if case .file(let error) = problem { return error.description }
        return ([path] + (key.map { [printable($0)] } ?? []) + [problem.description]).joined(separator: ": ")
    }
}

extension CheckpointError.Problem: CustomStringConvertible {
    public var description: String {
        switch self {
        case .file(let error): error.description
        case .empty: "the file is empty"
        case .unknownFormat(let looks): "not a checkpoint (PyTorch's zip or pickle, or safetensors): \(looks)"
        case .damaged(let reason): "the file is damaged: \(reason)"
        case .refused(let name):
            "refused: its pickle would have Python call \(printable(name)), which no state dict needs; nothing was run"
        case .pickledObject(let type):
            "it holds a pickled \(printable(type)) object, not a state dict; "
                + "in Python: torch.save(model.state_dict(), \"weights.pth\")"
        case .unsupported(let what): "not supported: \(what)"
        case .noTensors(let entries) where entries.isEmpty: "it holds no tensors"
        case .noTensors(let entries):
            "found no single mapping of names to tensors; it holds "
                + entries.prefix(12).map { "\(printable($0.name)) (\($0.type))" }.joined(separator: ", ")
                + (entries.count > 12 ? " and \(entries.count - 12) more" : "")
        }
    }
}

extension CheckpointError.Problem {
    /// The same problem with the key of the tensor that has it.
    func inTensor(_ key: String) -> Self {
        if case .damaged(let reason) = self { .damaged("\(printable(key)): \(reason)") } else { self }
    }
}

/// Text from a file for a one-line message: no control characters, and not endless.
func printable(_ text: String) -> String {
    let limit = 120
    let scalars = text.unicodeScalars.prefix(limit + 1)
    let shown = scalars.prefix(limit).map { $0.properties.generalCategory == .control ? "\u{FFFD}" : String($0) }
    return shown.joined() + (scalars.count > limit ? "…" : "")
}
