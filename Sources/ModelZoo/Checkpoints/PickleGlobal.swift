import Layers

/// A function or class that a pickle may name. None of them is ever called: the machine knows what each would yield.
struct PickleGlobal: Sendable {
    enum Kind: Sendable {
        /// `collections.OrderedDict` and its like: a dictionary.
        case dictionary
        /// `torch._utils._rebuild_tensor` and `_v2`: a view of a storage.
        case rebuildTensor
        /// `torch._utils._rebuild_tensor_v3`, which also names the element type.
        case rebuildTypedTensor
        /// `torch._utils._rebuild_parameter` and `_with_state`: its first argument.
        case rebuildParameter
        /// `torch._tensor._rebuild_from_type_v2`: its first argument called with its third.
        case rebuildFromType
        /// `torch.FloatStorage` and its like, and `torch.storage.UntypedStorage` (bytes).
        case storage(DType)
        case dtype(DType)
        /// `torch.Size`: a tuple.
        case size
        /// Harmless and of no use here: its calls yield ``PickleValue/opaque(_:)``.
        case opaque
    }

    let name: String
    let kind: Kind

    /// The only globals that are accepted; all others are refused.
    init(module: String, name: String) throws(CheckpointError.Problem) {
        self.name = "\(module).\(name)"
        if let kind = Self.known[self.name] {
            self.kind = kind
        } else if module == "torch", let dtype = DType(rawValue: name) {
            self.kind = .dtype(dtype)
        } else {
            throw Self.refusal(module: module, name: name)
        }
    }

    private static let known: [String: Kind] = {
        var known: [String: Kind] = [
            "collections.OrderedDict": .dictionary,
            "collections.defaultdict": .dictionary,
            "torch._utils._rebuild_tensor": .rebuildTensor,
            "torch._utils._rebuild_tensor_v2": .rebuildTensor,
            "torch._utils._rebuild_tensor_v3": .rebuildTypedTensor,
            "torch._utils._rebuild_parameter": .rebuildParameter,
            "torch._utils._rebuild_parameter_with_state": .rebuildParameter,
            "torch._tensor._rebuild_from_type_v2": .rebuildFromType,
            "torch.storage.UntypedStorage": .storage(.uint8),
            "torch.UntypedStorage": .storage(.uint8),
            "torch.Size": .size,
        ]
        let storages: [(String, DType)] = [
            ("Double", .float64), ("Float", .float32), ("Half", .float16), ("BFloat16", .bfloat16), ("Long", .int64),
            ("Int", .int32), ("Short", .int16), ("Char", .int8), ("Byte", .uint8), ("Bool", .bool),
        ]
        for (name, dtype) in storages {
            known["torch.\(name)Storage"] = .storage(dtype)
            known["torch.cuda.\(name)Storage"] = .storage(dtype)
        }
        // What training scripts keep beside the weights.
        let harmless = [
            "argparse.Namespace", "collections.Counter", "pathlib.PosixPath", "pathlib.PurePosixPath",
            "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
            "torch.serialization._get_layout", "_codecs.encode",
            "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
            "numpy.ndarray", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
            // Classes only: types that hold other values, or name them.
            "copy_reg._reconstructor", "copyreg._reconstructor",
        ]
        for name in harmless { known[name] = .opaque }
        for name in ["object", "set", "frozenset", "list", "dict", "tuple", "int", "float", "str", "bool", "complex"] {
            known["__builtin__.\(name)"] = .opaque
            known["builtins.\(name)"] = .opaque
        }
        for name in ["long", "unicode"] { known["__builtin__.\(name)"] = .opaque }
        return known
    }()

    private static func refusal(module: String, name: String) -> CheckpointError.Problem {
        let full = "\(module).\(name)"
        let root = module.prefix { $0 != "." }
        if root == "__torch__" {
            return .unsupported("a TorchScript archive; in Python: torch.save(model.state_dict())")
        }
        if module == "torch._utils" || module.hasPrefix("torch.storage") || module == "torch" {
            return .unsupported("a tensor made with \(printable(full))")
        }
        // Classes begin with a capital by convention; in the standard library's modules, that is no excuse.
        let isClass = name.split(separator: ".").last?.first?.isUppercase ?? false
        return isClass && !standardModules.contains(String(root)) ? .pickledObject(type: full) : .refused(global: full)
    }

    private static let standardModules: Set<String> = [
        "builtins", "__builtin__", "os", "posix", "nt", "sys", "subprocess", "commands", "pty", "socket", "shutil",
        "runpy", "importlib", "code", "ctypes", "pickle", "marshal", "types", "functools", "operator", "webbrowser",
        "asyncio", "threading", "multiprocessing", "urllib", "http", "platform", "timeit", "pdb", "bdb", "cProfile",
    ]
}
