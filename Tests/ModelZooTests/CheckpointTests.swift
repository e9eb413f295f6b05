import Foundation
import Layers
import ModelZoo
import Tensors
import Testing

@Suite struct CheckpointTests {
    @Test(arguments: Fixtures.valid)
    func readsWhatPythonWrote(name: String) throws {
        let expected = Fixtures.expected[name]!
        let checkpoint = try Checkpoint(contentsOf: Fixtures.path(name))
        #expect(checkpoint.format.rawValue == expected.format)
        #expect(checkpoint.nesting == expected.nesting)
        #expect(checkpoint.strippingCommonPrefix().prefix == expected.prefix)
        #expect(checkpoint.metadata == expected.metadata)
        let others = checkpoint.otherEntries.map { ($0.name, $0.type) }
        #expect(Dictionary(uniqueKeysWithValues: others) == expected.others)

        let tensors = Fixtures.tensors(of: name)
        #expect(checkpoint.stateDict.keys == tensors.map(\.key))
        for tensor in tensors {
            let entry = try #require(checkpoint.stateDict[tensor.key])
            #expect(entry.shape == tensor.shape, "\(tensor.key)")
            #expect(entry.dtype.rawValue == tensor.dtype, "\(tensor.key)")
            #expect(sameBits(try values(entry), tensor.values, dtype: entry.dtype), "\(tensor.key)")
        }
    }

    @Test(arguments: Fixtures.refused)
    func refusesInOneLine(name: String) throws {
        let path = Fixtures.path(name)
        let error = try #require(throws: CheckpointError.self) { try Checkpoint(contentsOf: path) }
        let message = error.description
        #expect(message.hasPrefix(path + ": ") && !message.contains("\n"))
        for fragment in Fixtures.expected[name]!.error! { #expect(message.contains(fragment), "\(message)") }
    }

    @Test func runsNothing() {
        for name in Fixtures.refused where name.hasPrefix("os_system") {
            _ = try? Checkpoint(contentsOf: Fixtures.path(name))
        }
        #expect(!FileManager.default.fileExists(atPath: "/tmp/recognite-was-run"))
    }

    @Test func stripsOnlyPrefixesOfAllKeys() throws {
        let parallel = try Checkpoint(contentsOf: Fixtures.path("data_parallel.pth"))
        let stripped = parallel.strippingCommonPrefix()
        #expect(stripped.stateDict.keys == ["conv.weight", "bn.weight", "bn.num_batches_tracked"])
        #expect(parallel.strippingCommonPrefix(["module."]).stateDict.keys.first == "backbone.conv.weight")
        #expect(parallel.strippingCommonPrefix(["module.backbone.conv.weight"]).prefix == "")

        let recognizer = try Checkpoint(contentsOf: Fixtures.path("recognizer.pth"))
        #expect(recognizer.strippingCommonPrefix().stateDict.keys == recognizer.stateDict.keys)
    }

    @Test func filesThatAreNone() throws {
        func message(_ path: String) -> String {
            do {
                _ = try Checkpoint(contentsOf: path)
                return "no error"
            } catch {
                return error.description
            }
        }
        #expect(message("/no/such/file.pth") == "/no/such/file.pth: cannot open: No such file or directory")
        #expect(message("/").contains("is a folder"))
        #expect(message("/dev/null").contains("is a device"))
        try Fixtures.withFile([]) { #expect(message($0).contains("the file is empty")) }
        try Fixtures.withFile(Array("<html>".utf8)) { #expect(message($0).contains("a web page")) }
        try Fixtures.withFile(Array("version https://git-lfs.github.com/spec/v1".utf8)) {
            #expect(message($0).contains("Git LFS pointer"))
        }
    }

    @Test func damagedElementsAreNamed() throws {
        var bytes = Fixtures.bytes("state_dict.pth")
        // The first weights are 0, 1, 2, 3, 4, 5.
        let one: [UInt8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: one) })
        bytes[place] ^= 1
        try Fixtures.withFile(bytes) { path in
            let checkpoint = try Checkpoint(contentsOf: path)
            let entry = try #require(checkpoint.stateDict["0.weight"])
            let error = try #require(throws: CheckpointError.self) { try entry.tensor() }
            #expect(error.key == "0.weight")
            #expect(error.description.contains("0.weight: the file is damaged: the checksum of state_dict/data/0"))
            #expect(throws: Never.self) { try checkpoint.stateDict["0.bias"]?.tensor() }
        }
    }

    @Test func entriesOutliveTheCheckpoint() throws {
        let entry = try Fixtures.withFile(Fixtures.bytes("shared.pth")) {
            try Checkpoint(contentsOf: $0).stateDict["d"]
        }
        #expect(try entry?.tensor().scalars == [3, 4, 5])
    }

    /// NaNs may differ in their bits.
    private func sameBits(_ a: [Int64], _ b: [Int64], dtype: DType) -> Bool {
        func isNaN(_ bits: Int64) -> Bool { dtype.isFloatingPoint && Float(bitPattern: UInt32(bits)).isNaN }
        return a.count == b.count && zip(a, b).allSatisfy { $0 == $1 || isNaN($0) && isNaN($1) }
    }
}
