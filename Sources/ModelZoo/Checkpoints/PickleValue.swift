import Layers

/// A value that a pickle describes. Containers are numbers of places in ``PickleObjects``, so that nesting and cycles,
/// which the file decides on, neither recurse nor leak.
enum PickleValue: Sendable {
    case none
    case bool(Bool)
    case integer(Int)
    case float(Double)
    case string(String)
    case tuple(Int)
    case list(Int)
    case dictionary(Int)
    case global(PickleGlobal)
    case storage(Int)
    case tensor(Int)
    /// Something harmless of which only the type's name is kept.
    case opaque(String)
}

/// A storage that a pickle refers to; its bytes lie elsewhere in the file.
struct PickledStorage: Sendable {
    let key: String
    let dtype: DType
    /// Elements of the whole storage.
    let count: Int
    /// The part of it that is meant, in elements; the whole if `nil`. Written by PyTorch before 0.4 or so.
    let part: Range<Int>?
}

/// A tensor that a pickle describes; nothing of it is checked yet.
struct PickledTensor: Sendable {
    let storage: Int
    let dtype: DType
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

/// The containers, storages and tensors of a pickle.
struct PickleObjects: Sendable {
    var tuples: [[PickleValue]] = []
    var lists: [[PickleValue]] = []
    /// Keys and values in the order in which they were set; of equal keys the last counts.
    var dictionaries: [[(key: PickleValue, value: PickleValue)]] = []
    var storages: [PickledStorage] = []
    var tensors: [PickledTensor] = []

    /// The elements of a tuple or a list.
    func elements(_ value: PickleValue) -> [PickleValue]? {
        switch value {
        case .tuple(let index): tuples[index]
        case .list(let index): lists[index]
        default: nil
        }
    }

    /// The elements of a tuple or a list of integers, such as a shape.
    func integers(_ value: PickleValue) -> [Int]? {
        guard let elements = elements(value) else { return nil }
        var result: [Int] = []
        for case .integer(let integer) in elements { result.append(integer) }
        return result.count == elements.count ? result : nil
    }

    /// A value's type in a few words.
    func summary(_ value: PickleValue) -> String {
        switch value {
        case .none: "None"
        case .bool: "bool"
        case .integer: "int"
        case .float: "float"
        case .string: "str"
        case .tuple(let index): "tuple of \(tuples[index].count)"
        case .list(let index): "list of \(lists[index].count)"
        case .dictionary(let index): "dict of \(dictionaries[index].count)"
        case .global(let global): global.name
        case .storage(let index): "storage of \(storages[index].dtype)"
        case .tensor(let index): "tensor \(tensors[index].shape.prefix(8)) of \(tensors[index].dtype)"
        case .opaque(let type): type
        }
    }
}
