import Layers
import Tensors

/// What `torch.save` has written: a pickled object, and the bytes of its storages.
struct TorchArchive {
    let objects: PickleObjects
    let root: PickleValue
    /// One for each of `objects.storages`.
    let storages: [StorageBytes]

    /// A tensor of the pickle, whose view is checked against its storage.
    func tensor(_ index: Int) throws(CheckpointError.Problem) -> StoredTensor {
        let tensor = objects.tensors[index]
        return try StoredTensor(
            dtype: tensor.dtype, shape: tensor.shape, strides: tensor.strides, offset: tensor.offset,
            storage: storages[tensor.storage])
    }

    /// Bytes of `count` elements, or an error that names the storage.
    static func byteCount(_ count: Int, _ dtype: DType, key: String) throws(CheckpointError.Problem) -> Int {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: dtype.size)
        guard !overflow, bytes >= 0 else {
            throw .damaged("storage \(printable(key)) claims \(count) elements")
        }
        return bytes
    }
}
