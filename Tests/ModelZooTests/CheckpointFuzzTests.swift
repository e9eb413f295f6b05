import Foundation
import Layers
import ModelZoo
import Testing

/// Damaged files give an error or a valid state dict, of which no tensor is larger than the file.
///
/// The memory of the process is not measured here, because other tests share it.
@Suite struct CheckpointFuzzTests {
    /// Opens a file of these bytes and reads every tensor that it claims to have.
    private func read(_ bytes: [UInt8], of name: String, in folder: String) throws {
        let path = "\(folder)/file"
        try Fixtures.write(bytes, to: path)
        // Writing over a file makes ext4 wait for the disk.
        defer { try? FileManager.default.removeItem(atPath: path) }
        do {
            let checkpoint = try Checkpoint(contentsOf: path)
            for (key, entry) in checkpoint.stateDict {
                #expect(entry.shape.allSatisfy { $0 >= 0 })
                #expect(entry.count * entry.dtype.size <= bytes.count, "\(name): \(key)")
                _ = try entry.dtype.isFloatingPoint ? entry.tensor().count : entry.integers().count
            }
            _ = checkpoint.strippingCommonPrefix()
        } catch let error as CheckpointError {
            #expect(!error.description.contains("\n") && error.description.utf8.count < 2000, "\(name)")
        }
    }

    @Test func truncatedAndChangedFiles() throws {
        for name in Fixtures.expected.keys.sorted() {
            let bytes = Fixtures.bytes(name)
            try Fixtures.withFolder { folder in
                for length in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 160)) {
                    try read(Array(bytes[..<length]), of: name, in: folder)
                }
                var generator = SeededGenerator(state: UInt64(bytes.count))
                for round in 0..<250 {
                    try read(changed(bytes, round, using: &generator), of: name, in: folder)
                }
            }
        }
    }

    private func changed(_ bytes: [UInt8], _ round: Int, using generator: inout SeededGenerator) -> [UInt8] {
        var changed = bytes
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let place = Int.random(in: 0..<bytes.count, using: &generator)
            // Single bits, bytes that are extreme as sizes, and any.
            switch round % 3 {
            case 0: changed[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 1: changed[place] = [0, 0x7f, 0x80, 0xff].randomElement(using: &generator)!
            default: changed[place] = UInt8.random(in: 0...255, using: &generator)
            }
        }
        return changed
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
