import Tensors

extension TorchArchive {
    /// The format since PyTorch 1.6: a zip archive of `<name>/data.pkl`, `<name>/data/<key>` for each storage, and
    /// `<name>/byteorder`.
    init(zip file: MappedFile) throws(CheckpointError.Problem) {
        let directory = try ZipDirectory(file.bytes)
        let suffix = "/data.pkl"
        let pickles = directory.members.filter { $0.name.hasSuffix(suffix) }
        guard let pickle = pickles.first, pickles.count == 1 else {
            throw .unknownFormat("a zip archive that torch.save did not write (it has \(pickles.count) data.pkl)")
        }
        let prefix = pickle.name.dropLast(suffix.utf8.count)
        guard directory["\(prefix)/constants.pkl"] == nil else {
            throw .unsupported("a TorchScript archive; in Python: torch.save(model.state_dict(), \"weights.pth\")")
        }
        if let order = directory["\(prefix)/byteorder"] {
            let text = try StorageBytes(file: file, member: order).withBytes { $0.utf8Text }
            guard text == "little" else {
                throw .unsupported("a file in byte order \"\(printable(text))\", where little-endian is needed")
            }
        }
        guard pickle.size <= PickleMachine.sizeLimit else {
            throw .unsupported("a pickle of \(pickle.size) bytes; \(PickleMachine.sizeLimit) are allowed")
        }
        let (objects, root) = try StorageBytes(file: file, member: pickle).withBytes {
            bytes throws(CheckpointError.Problem) in
            var machine = PickleMachine(bytes)
            let root = try machine.run()
            return (machine.objects, root)
        }

        var byKey: [String: StorageBytes] = [:]
        var storages: [StorageBytes] = []
        for storage in objects.storages {
            let needed = try Self.byteCount(storage.count, storage.dtype, key: storage.key)
            let bytes: StorageBytes
            if let known = byKey[storage.key] {
                bytes = known
            } else if let member = directory["\(prefix)/data/\(storage.key)"] {
                bytes = StorageBytes(file: file, member: member)
            } else {
                throw .damaged("storage \(printable(storage.key)) is missing")
            }
            byKey[storage.key] = bytes
            guard storage.part == nil else { throw .damaged("a part of storage \(printable(storage.key))") }
            guard needed <= bytes.count else {
                throw .damaged("storage \(printable(storage.key)) needs \(needed) bytes and has \(bytes.count)")
            }
            storages.append(bytes)
        }
        self.init(objects: objects, root: root, storages: storages)
    }
}
