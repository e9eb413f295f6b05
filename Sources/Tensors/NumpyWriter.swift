/// Writes a `.npy` file of shape `[rows, columns]` batch by batch, without knowing the number of rows beforehand.
///
/// The file appears under its name with ``finish()``; a writer that goes away before that leaves nothing behind.
public final class NumpyWriter {
    public let columns: Int
    /// Rows written so far.
    public private(set) var rows = 0
    private let file: AtomicFile

    public init(path: String, columns: Int) throws(NumpyError) {
        precondition(columns >= 0, "NumpyWriter: \(columns) columns")
        self.columns = columns
        do throws(FileError) {
            file = try AtomicFile(path: path)
            try Tensor.write(NumpyHeader(shape: [0, columns]).encoded, to: file)
        } catch {
            throw .file(error)
        }
    }

    /// Appends rows.
    ///
    /// - Precondition: `batch` is `[k, columns]`.
    public func append(_ batch: Tensor) throws(NumpyError) {
        precondition(
            batch.rank == 2 && batch.shape[1] == columns,
            "NumpyWriter.append: shape \(batch.shape), expected [k, \(columns)]")
        do throws(FileError) {
            try batch.withUnsafeScalars { scalars throws(FileError) in
                try file.write(UnsafeRawBufferPointer(scalars))
            }
        } catch {
            throw .file(error)
        }
        rows += batch.shape[0]
    }

    /// Writes the number of rows and gives the file its name. Nothing may be appended after it.
    public func finish() throws(NumpyError) {
        do throws(FileError) {
            try file.overwriteStart(with: NumpyHeader(shape: [rows, columns]).encoded)
            try file.commit()
        } catch {
            throw .file(error)
        }
    }
}
