import Layers
import Tensors

/// A file of weights, opened: PyTorch's zip and older pickle formats, and safetensors. Which one it is, its content
/// says, not its name.
///
/// The file is mapped, and a tensor's elements are read when its entry is asked for them. Files are not trusted:
/// nothing in them is run, every size is checked against the file's own, and what does not fit is an error.
public struct Checkpoint: Sendable {
    public enum Format: String, Sendable {
        /// `torch.save` since PyTorch 1.6.
        case torchZip
        /// `torch.save` before that.
        case torchLegacy
        case safetensors
    }

    /// Something that lies at the file's top level beside the weights.
    public struct OtherEntry: Sendable, Equatable {
        public let name: String
        /// The Python type in a few words, such as `int` or `dict of 2`.
        public let type: String
    }

    public let path: String
    public let format: Format
    /// The tensors under their keys, in the file's order.
    public let stateDict: StateDict
    /// The keys that lead to the tensors, such as `["state_dict"]`; `nil` when they lie at the top level.
    public let nesting: [String]?
    /// The other entries of the top level, such as an optimizer or an epoch.
    public let otherEntries: [OtherEntry]
    /// The texts that a safetensors file carries under `__metadata__`.
    public let metadata: [String: String]

    /// Opens a file.
    public init(contentsOf path: String) throws(CheckpointError) {
        do throws(CheckpointError.Problem) {
            let file: MappedFile
            do { file = try MappedFile(path: path) } catch { throw .file(error) }
            try self.init(file)
        } catch {
            throw CheckpointError(path: path, problem: error)
        }
    }

    private init(_ file: MappedFile) throws(CheckpointError.Problem) {
        guard let format = try Self.format(of: file) else { throw .unknownFormat(Self.looks(of: file.bytes)) }
        switch format {
        case .torchZip: try self.init(TorchArchive(zip: file), format, file)
        case .torchLegacy: try self.init(TorchArchive(legacy: file), format, file)
        case .safetensors:
            let safetensors = try SafetensorsFile(file)
            self.init(
                path: file.path, format: format,
                stateDict: try Self.stateDict(safetensors.tensors, path: file.path, fileSize: file.bytes.count),
                nesting: nil, otherEntries: [], metadata: safetensors.metadata)
        }
    }

    private init(
        path: String, format: Format, stateDict: StateDict, nesting: [String]?, otherEntries: [OtherEntry],
        metadata: [String: String]
    ) {
        self.path = path
        self.format = format
        self.stateDict = stateDict
        self.nesting = nesting
        self.otherEntries = otherEntries
        self.metadata = metadata
    }

    private init(_ archive: TorchArchive, _ format: Format, _ file: MappedFile) throws(CheckpointError.Problem) {
        let search = StateDictSearch(archive.objects)
        var topLevel: [(key: String, value: PickleValue)] = [("(the object)", archive.root)]
        if case .dictionary(let index) = archive.root { topLevel = search.items(index) }
        func others(without isWeights: (String, PickleValue) -> Bool) -> [OtherEntry] {
            topLevel.filter { !isWeights($0.key, $0.value) }
                .map { OtherEntry(name: $0.key, type: archive.objects.summary($0.value)) }
        }

        guard let (nesting, items) = search.find(in: archive.root) else {
            throw .noTensors(others { _, _ in false })
        }
        var tensors: [(key: String, tensor: StoredTensor)] = []
        for case (let key, .tensor(let index)) in items {
            do { tensors.append((key, try archive.tensor(index))) } catch { throw error.inTensor(key) }
        }
        self.init(
            path: file.path, format: format,
            stateDict: try Self.stateDict(tensors, path: file.path, fileSize: file.bytes.count),
            nesting: nesting.isEmpty ? nil : nesting,
            otherEntries: others { key, value in
                if let first = nesting.first { return key == first }
                if case .tensor = value { return true } else { return false }
            },
            metadata: [:])
    }

    private static func stateDict(
        _ tensors: [(key: String, tensor: StoredTensor)], path: String, fileSize: Int
    ) throws(CheckpointError.Problem) -> StateDict {
        var stateDict = StateDict()
        var total = 0
        for (key, tensor) in tensors {
            // Tensors may share a storage and repeat its elements, but not so that a small file fills the memory.
            let (bytes, overflow) = tensor.count.multipliedReportingOverflow(by: tensor.dtype.size)
            let (sum, tooMany) = total.addingReportingOverflow(bytes)
            guard !overflow, !tooMany, bytes <= fileSize, sum / 64 <= fileSize else {
                throw .damaged(
                    "the tensor \(printable(key)) of shape \(tensor.shape.prefix(8)) is larger than the file justifies")
            }
            total = sum
            stateDict[key] = tensor.entry(path: path, key: key)
        }
        return stateDict
    }
}
