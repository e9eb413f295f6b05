import Foundation
import Layers
import ModelZoo
import Testing

/// The files that `Tools/make_checkpoint_fixtures.py` writes, and what it says about them.
enum Fixtures {
    struct Tensor: Decodable {
        let key: String
        let shape: [Int]
        let dtype: String
        /// Of floating-point tensors the bits as float32.
        let values: [Int64]
    }

    struct Expectation: Decodable {
        let error: [String]?
        let format: String?
        let nesting: [String]?
        let prefix: String?
        let others: [String: String]?
        let metadata: [String: String]?
        let tensors: [Tensor]?
        /// Another file with the same tensors.
        let sameTensors: String?
    }

    static let folder = Bundle.module.resourceURL!.appendingPathComponent("Fixtures")

    static let expected: [String: Expectation] = {
        let data = try! Data(contentsOf: folder.appendingPathComponent("expected.json"))
        return try! JSONDecoder().decode([String: Expectation].self, from: data)
    }()

    static let valid = expected.filter { $0.value.error == nil }.keys.sorted()
    static let refused = expected.filter { $0.value.error != nil }.keys.sorted()

    static func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
    static func bytes(_ name: String) -> [UInt8] { try! Array(Data(contentsOf: folder.appendingPathComponent(name))) }

    static func tensors(of name: String) -> [Tensor] {
        let expectation = expected[name]!
        return expectation.tensors ?? tensors(of: expectation.sameTensors!)
    }

    /// Calls `body` with the path of a file of these bytes, which is removed afterwards.
    static func withFile<R>(_ bytes: [UInt8], named name: String = "file", _ body: (String) throws -> R) throws -> R {
        try withFolder { folder in
            let path = "\(folder)/\(name)"
            try write(bytes, to: path)
            return try body(path)
        }
    }

    /// Not with `Data.write`, which waits for the disk: there are tens of thousands of files to write.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try #require(fopen(path, "wb"))
        defer { fclose(file) }
        try #require(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    /// Calls `body` with the path of an empty folder, which is removed afterwards.
    static func withFolder<R>(_ body: (String) throws -> R) throws -> R {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("recognite-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try body(folder.path)
    }
}

/// The elements as the fixtures list them: integers, or the bits of float32.
func values(_ entry: StateDict.Entry) throws -> [Int64] {
    entry.dtype.isFloatingPoint ? try entry.tensor().scalars.map { Int64($0.bitPattern) } : try entry.integers()
}
