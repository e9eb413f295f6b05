import Foundation
import Layers
import ModelZoo
import Tensors
import Testing

@Suite struct SafetensorsTests {
    private func file(_ header: String, data: Int, claimed: UInt64? = nil) -> [UInt8] {
        let length = claimed ?? UInt64(header.utf8.count)
        return withUnsafeBytes(of: length.littleEndian) { Array($0) } + Array(header.utf8) + [UInt8](0..<UInt8(data))
    }

    private func message(_ bytes: [UInt8]) throws -> String {
        try Fixtures.withFile(bytes, named: "a.safetensors") { path in
            do {
                let checkpoint = try Checkpoint(contentsOf: path)
                return "keys \(checkpoint.stateDict.keys)"
            } catch {
                return "\(error)"
            }
        }
    }

    @Test(arguments: [
        (1 << 60, "its header claims 1152921504606846976 bytes"), (UInt64.max, "its header claims"),
        (UInt64(Int64.max), "its header claims"), (100, "its header claims 100 bytes, 6 are there"),
        (0, "{ is missing"), (1, "\" is missing"), (2, "its tensors take 0 bytes, 4 are there"),
    ])
    func headerLength(claimed: UInt64, fragment: String) throws {
        let message = try message(file("{}", data: 4, claimed: claimed))
        #expect(message.contains("damaged") && message.contains(fragment), "\(message)")
    }

    @Test func tooShort() throws {
        #expect(try message([1, 2, 3]).contains("ends early"))
        #expect(try message(file("", data: 0, claimed: 1 << 60)).contains("its header claims"))
    }

    @Test(arguments: [
        (#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8, #"keys ["x"]"#),
        (#" { "x" : {"shape":[],"dtype":"F32", "data_offsets" : [ 0 , 4 ]} }  "#, 4, #"keys ["x"]"#),
        (
            #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"#
                + #""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
            2, #"keys ["b", "a"]"#
        ),
        (
            #"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8,
            "x: a tensor of shape [3], strides [1], offset 0 reaches beyond"
        ),
        (#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#, 8, "x of float32 and shape [1] has 8 bytes"),
        (#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7, "at most to 7"),
        (#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9, "its tensors take 8 bytes"),
        (#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "expected from 0"),
        (#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#, 8, "expected from 0"),
        (#"{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0, "too large"),
        (#"{"x":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}}"#, 0, "too large"),
        (#"{"x":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,0]}}"#, 0, "63 bits"),
        (#"{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}"#, 0, "63 bits"),
        (#"{"x":{"dtype":"F32","shape":[1.5],"data_offsets":[0,0]}}"#, 0, "missing"),
        (#"{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#, 1, "tensor x of type F8_E4M3"),
        (#"{"x":{"dtype":"F32","shape":[1]}}"#, 0, "lacks a field"),
        (#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"y":1}}"#, 4, "unknown field y"),
        (
            #"{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"#
                + #""x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
            0, "x twice"
        ),
        (#"{"x":{"dtype":"F32"#, 0, "without an end"),
        (#"{"\ud800":1}"#, 0, "half a character"),
        (#"{"__metadata__":{"a":1}}"#, 0, "missing"),
        (#"{} {}"#, 0, "something follows"),
        (#"[]"#, 0, "{ is missing"),
    ])
    func headers(header: String, data: Int, fragment: String) throws {
        let message = try message(file(header, data: data))
        #expect(message.contains(fragment), "\(message)")
    }

    /// What is written is read back the same, with the keys in order.
    @Test(arguments: ["dtypes.pth", "views.pth", "dtypes.safetensors", "nested.pth", "state_dict_legacy.pth"])
    func roundTrip(name: String) throws {
        let original = try Checkpoint(contentsOf: Fixtures.path(name)).stateDict
        try Fixtures.withFolder { folder in
            let path = "\(folder)/a.safetensors"
            try original.write(safetensorsTo: path, metadata: ["made by": "a \"test\"\n\u{1}é"])
            let written = try Checkpoint(contentsOf: path)
            #expect(written.metadata == ["format": "pt", "made by": "a \"test\"\n\u{1}é"])
            #expect(written.stateDict.keys == original.keys)
            for (key, entry) in original {
                let other = try #require(written.stateDict[key])
                #expect(other.shape == entry.shape && other.dtype == entry.dtype)
                let (a, b) = (try values(entry), try values(other))
                let isFloat = entry.dtype.isFloatingPoint
                #expect(zip(a, b).allSatisfy { $0 == $1 || isFloat && Float(bitPattern: UInt32($0)).isNaN }, "\(key)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.safetensors"])
        }
    }

    /// Each tensor begins at a multiple of its element size, also behind an odd number of smaller ones.
    @Test func alignsElements() throws {
        var dict = StateDict()
        dict["flag"] = .init(shape: [1], dtype: .bool) { [1] }
        dict["half"] = .init(shape: [1], dtype: .float16) { $0.initialize(repeating: 0.1) }
        dict["float"] = .init(Tensor([1, 2, 3], shape: [3]))
        dict["counter"] = .init(shape: []) { [-7] }
        try Fixtures.withFolder { folder in
            try dict.write(safetensorsTo: "\(folder)/a.safetensors")
            let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/a.safetensors"))
            let header = String(decoding: bytes[8..<bytes.count - 23], as: UTF8.self)
            #expect((header.utf8.count + 8) % 8 == 0)
            for text in ["[0,8]", "[8,20]", "[20,22]", "[22,23]"] { #expect(header.contains(text), "\(header)") }
            #expect(try Checkpoint(contentsOf: "\(folder)/a.safetensors").stateDict.keys == dict.keys)
        }
    }

    @Test func aFailureLeavesTheOldFile() throws {
        struct Failure: Error {}
        var dict = StateDict()
        dict["x"] = .init(Tensor([1, 2], shape: [2]))
        try Fixtures.withFolder { folder in
            let path = "\(folder)/a.safetensors"
            try dict.write(safetensorsTo: path)
            let old = try Data(contentsOf: URL(fileURLWithPath: path))
            dict["y"] = .init(shape: [1]) { _ in throw Failure() }
            #expect(throws: Failure.self) { try dict.write(safetensorsTo: path) }
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == old)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.safetensors"])
        }
        var reserved = StateDict()
        reserved["__metadata__"] = .init(Tensor(1))
        #expect(throws: CheckpointError.self) { try reserved.write(safetensorsTo: "/tmp/a.safetensors") }
        let error = #expect(throws: FileError.self) { try dict.write(safetensorsTo: "/no/such/folder/a.safetensors") }
        #expect(error?.description == "no such folder: /no/such/folder")
    }
}
