/// Why a `.npy` file could not be read or written.
public enum NumpyError: Error, Equatable, Sendable {
    case file(FileError)
    /// The file does not begin like a `.npy` file, or its header is not one.
    case malformed(path: String, reason: String)
    /// Elements of another type than little-endian float32 (`<f4`).
    case dtype(path: String, found: String)
    /// The elements are in column-major order.
    case fortranOrder(path: String)
    /// The file's length is not what its header says.
    case size(path: String, shape: [Int], expected: Int, found: Int)
}

extension NumpyError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .file(let error): error.description
        case .malformed(let path, let reason): "\(path): not a .npy file: \(reason)"
        case .dtype(let path, let found):
            "\(path): elements of type \(found), where '<f4' is needed; in Python: array.astype('<f4')"
        case .fortranOrder(let path):
            "\(path): in Fortran order, where C order is needed; in Python: numpy.ascontiguousarray(array)"
        case .size(let path, let shape, let expected, let found):
            "\(path): shape \(shape) needs \(expected) bytes of elements, the file has \(found)"
        }
    }
}
