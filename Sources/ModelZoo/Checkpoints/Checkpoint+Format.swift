import Tensors

extension Checkpoint {
    /// The format that a file's first bytes show; `nil` if none. A pickle that `torch.save` did not write is an error
    /// that says what it would have had Python do.
    static func format(of file: MappedFile) throws(CheckpointError.Problem) -> Format? {
        let bytes = file.bytes
        guard !bytes.isEmpty else { throw .empty }
        if bytes.starts(with: "PK\u{3}\u{4}".utf8) || bytes.starts(with: "PK\u{5}\u{6}".utf8) { return .torchZip }
        if TorchArchive.isLegacy(bytes) { return .torchLegacy }
        if bytes.count > 8, bytes[8] == UInt8(ascii: "{") { return .safetensors }
        // The name is asked only when the content says nothing, for the sake of a better message.
        if file.path.hasSuffix(".safetensors") { return .safetensors }
        try refuseForeignPickle(bytes)
        return nil
    }

    private static func refuseForeignPickle(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError.Problem) {
        var machine = PickleMachine(bytes)
        do throws(CheckpointError.Problem) {
            _ = try machine.run()
        } catch {
            switch error {
            case .refused, .pickledObject: throw error
            default: break
            }
        }
    }

    /// What a file that is no checkpoint seems to be.
    static func looks(of bytes: UnsafeRawBufferPointer) -> String {
        let beginnings: [(prefix: [UInt8], looks: String)] = [
            ([0x80], "a pickle that torch.save did not write"),
            ([0x1f, 0x8b], "a gzip file, to be unpacked first"),
            ([0x89] + Array("HDF".utf8), "an HDF5 file"),
            ([0x93] + Array("NUMPY".utf8), "a .npy file"),
            (Array("GGUF".utf8), "a GGUF file"),
            (Array("version https://git-lfs".utf8), "a Git LFS pointer; the file itself was not fetched"),
            (Array("<".utf8), "a web page, perhaps instead of a download"),
        ]
        if let known = beginnings.first(where: { bytes.starts(with: $0.prefix) }) { return known.looks }
        if bytes.count > 262, bytes[257..<262].elementsEqual("ustar".utf8) {
            return "a tar archive, as PyTorch 0.1 wrote; load and save it with a newer PyTorch"
        }
        let start = bytes.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
        return "it begins with the bytes \(start)"
    }
}
