import Foundation
import Tensors
import Testing

@Suite struct NumpyFileTests {
    /// A file as numpy writes it: header padded to 64 bytes.
    private func file(_ dict: String, elements: Int, version: UInt8 = 1) -> [UInt8] {
        let lengthBytes = version == 1 ? 2 : 4
        var text = dict
        text += String(repeating: " ", count: 63 - (text.utf8.count + 8 + lengthBytes) % 64) + "\n"
        let length = (0..<lengthBytes).map { UInt8(text.utf8.count >> (8 * $0) & 0xff) }
        let data = (0..<elements).flatMap { value in
            withUnsafeBytes(of: Float(value).bitPattern.littleEndian) { Array($0) }
        }
        return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + Array(text.utf8) + data
    }

    private func withFile<R>(_ bytes: [UInt8], _ body: (String) throws -> R) throws -> R {
        try withFolder { folder in
            // Not with `Data.write`, which waits for the disk.
            let file = try #require(fopen("\(folder)/a.npy", "wb"))
            fwrite(bytes, 1, bytes.count, file)
            fclose(file)
            return try body("\(folder)/a.npy")
        }
    }

    private func withFolder<R>(_ body: (String) throws -> R) throws -> R {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("recognite-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try body(folder.path)
    }

    private func message(_ path: String) -> String {
        do {
            _ = try Tensor(npy: path)
            return "no error"
        } catch {
            return error.description
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt8])
    func readsEveryVersion(version: UInt8) throws {
        let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
        let tensor = try withFile(file(dict, elements: 6, version: version)) { try Tensor(npy: $0) }
        #expect(tensor.shape == [2, 3])
        #expect(tensor.scalars == [0, 1, 2, 3, 4, 5])
    }

    @Test(arguments: [
        ("(4,)", [4]), ("()", []), ("(0, 7)", [0, 7]), ("(2L, 2L)", [2, 2]), ("(1, 1, 2)", [1, 1, 2]),
    ])
    func readsShapes(text: String, shape: [Int]) throws {
        let dict = "{\"shape\": \(text), 'fortran_order':False, 'descr': '<f4'}"
        let tensor = try withFile(file(dict, elements: shape.reduce(1, *))) { try Tensor(npy: $0) }
        #expect(tensor.shape == shape)
    }

    @Test(arguments: [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", "elements of type '<f8'"),
        ("{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }", "elements of type '>f4'"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (24,), }", "elements of type '|u1'"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", "elements of type [('a', '<f4')]"),
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", "Fortran order"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", "needs 28 bytes of elements, the file has 24"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", "needs 20 bytes of elements, the file has 24"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "too many elements"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904), }", "too many elements"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "cannot be read"),
        ("{'descr': '<f4', 'shape': (6,), }", "lacks"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}", "unknown key"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } os.system('x')", "cannot be read"),
    ])
    func refuses(dict: String, fragment: String) throws {
        try withFile(file(dict, elements: 6)) { path in
            let message = message(path)
            #expect(message.hasPrefix(path) && message.contains(fragment) && !message.contains("\n"), "\(message)")
        }
    }

    @Test func refusesOtherFiles() throws {
        try withFile([]) { #expect(message($0).contains("it is empty")) }
        try withFile(Array("hello, world".utf8)) { #expect(message($0).contains("does not begin with")) }
        #expect(message("/no/such.npy") == "/no/such.npy: cannot open: No such file or directory")
        let huge: [UInt8] = [0x93] + Array("NUMPY".utf8) + [2, 0, 0xff, 0xff, 0xff, 0xff, 0x20]
        try withFile(huge) { #expect(message($0).contains("ends inside its header")) }
    }

    /// Truncated and changed files give a tensor or an error.
    @Test func survivesDamage() throws {
        let valid = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", elements: 6)
        for length in 0..<valid.count {
            try withFile(Array(valid[..<length])) { path in
                _ = #expect(throws: NumpyError.self) { try Tensor(npy: path) }
            }
        }
        var generator = SeededGenerator(state: 1)
        for _ in 0..<2000 {
            var bytes = valid
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                bytes[Int.random(in: 0..<76, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            try withFile(bytes) { path in
                if let tensor = try? Tensor(npy: path) { #expect(tensor.count <= 6) }
            }
        }
    }

    @Test func writesWhatItReads() throws {
        try withFolder { folder in
            for shape in [[2, 3], [6], [], [0, 4], [1, 2, 3, 1]] {
                let tensor = Tensor((0..<shape.reduce(1, *)).map { Float($0) - 1.5 }, shape: shape)
                try tensor.write(npy: "\(folder)/a.npy")
                let read = try Tensor(npy: "\(folder)/a.npy")
                #expect(read.shape == shape && read.scalars == tensor.scalars)
                let size = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/a.npy")).count
                #expect((size - tensor.count * 4) % 64 == 0)
            }
        }
    }

    @Test func writesBatchByBatch() throws {
        try withFolder { folder in
            let path = "\(folder)/a.npy"
            let writer = try NumpyWriter(path: path, columns: 3)
            var expected: [Float] = []
            for rows in [5, 0, 7000, 1] {
                let batch = Tensor((0..<rows * 3).map { Float($0 + rows) }, shape: [rows, 3])
                expected += batch.scalars
                try writer.append(batch)
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) != ["a.npy"])
            try writer.finish()
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.npy"])
            let read = try Tensor(npy: path)
            #expect(read.shape == [7006, 3] && read.scalars == expected)
        }
    }

    @Test func anUnfinishedFileLeavesTheOldOne() throws {
        try withFolder { folder in
            let path = "\(folder)/a.npy"
            try Tensor([1, 2], shape: [2]).write(npy: path)
            do {
                let writer = try NumpyWriter(path: path, columns: 1)
                try writer.append(Tensor([7], shape: [1, 1]))
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.npy"])
            #expect(try Tensor(npy: path).scalars == [1, 2])
        }
    }

    @Test func outputsThatCannotBe() throws {
        func message(_ path: String) -> String {
            do {
                try Tensor(1).write(npy: path)
                return "no error"
            } catch {
                return error.description
            }
        }
        #expect(message("/no/such/folder/a.npy") == "no such folder: /no/such/folder")
        try withFolder { folder in
            #expect(message(folder) == "\(folder): is a folder, not a file")
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/link.npy", withDestinationPath: "\(folder)/target.npy")
            try Tensor(1).write(npy: "\(folder)/target.npy")
            try Tensor(2).write(npy: "\(folder)/link.npy")
            #expect(try Tensor(npy: "\(folder)/target.npy").scalars == [2])
        }
    }
}

/// SplitMix64, so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
