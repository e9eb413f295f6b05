import Layers
import Tensors

extension TorchArchive {
    /// The format before PyTorch 1.6 (`_use_new_zipfile_serialization=False`): pickles of a magic number, of the
    /// protocol version, of facts about the system, of the object, and of the storages' keys; then each storage as a
    /// count of 64 bits and its elements.
    init(legacy file: MappedFile) throws(CheckpointError.Problem) {
        var position = 0
        func next() throws(CheckpointError.Problem) -> (PickleObjects, PickleValue) {
            var machine = PickleMachine(file.bytes, at: position)
            let value = try machine.run()
            position = machine.position
            return (machine.objects, value)
        }

        _ = try next()  // the magic number; see `isLegacy`
        guard case .integer(1001) = try next().1 else { throw .unsupported("this version of PyTorch's older format") }
        let (system, facts) = try next()
        guard case .dictionary(let index) = facts else { throw .damaged("the facts about the system are not a dict") }
        for case (.string("little_endian"), .bool(false)) in system.dictionaries[index] {
            throw .unsupported("a big-endian file")
        }
        let (objects, root) = try next()
        let (keyObjects, keyList) = try next()
        guard let keys = keyObjects.elements(keyList) else { throw .damaged("the storages' keys are not a list") }

        // Element sizes stand only in the object's pickle.
        var references: [String: PickledStorage] = [:]
        for storage in objects.storages {
            if let other = references[storage.key], other.dtype != storage.dtype || other.count != storage.count {
                throw .damaged("storage \(printable(storage.key)) has two types or sizes")
            }
            references[storage.key] = storage
        }

        var ranges: [String: Range<Int>] = [:]
        var reader = ByteReader(file.bytes, at: position)
        for case .string(let key) in keys {
            guard let storage = references[key], ranges[key] == nil else {
                throw .damaged("storage \(printable(key)) is not one of the object's")
            }
            let count = try reader.size64()
            guard count == storage.count else {
                throw .damaged("storage \(printable(key)) has \(count) elements, not \(storage.count)")
            }
            let start = reader.position
            let size = try Self.byteCount(count, storage.dtype, key: key)
            guard size <= reader.remaining else {
                throw .damaged(
                    "it ends early: storage \(printable(key)) needs \(size) bytes at offset \(start), "
                        + "\(reader.remaining) are there")
            }
            _ = try reader.take(size)
            ranges[key] = start..<start + size
        }

        var storages: [StorageBytes] = []
        for storage in objects.storages {
            guard var range = ranges[storage.key] else {
                throw .damaged("storage \(printable(storage.key)) is missing")
            }
            if let part = storage.part {
                let start = range.lowerBound
                range = start + part.lowerBound * storage.dtype.size..<start + part.upperBound * storage.dtype.size
            }
            storages.append(StorageBytes(file: file, range: range))
        }
        self.init(objects: objects, root: root, storages: storages)
    }

    /// Whether a file begins with the pickle of the number 0x1950a86a20f9469cfc6c.
    static func isLegacy(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let number: [UInt8] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]
        // From protocol 4 on, nine bytes of a frame may stand before it.
        return [2, 11].contains { bytes.dropFirst($0).starts(with: number) }
            && bytes.first == PickleOpcode.proto.rawValue
    }
}
