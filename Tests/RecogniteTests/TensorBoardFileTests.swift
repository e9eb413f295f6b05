import Foundation
import Recognite
import TestSupport
import Testing

/// Event files, read back by the format's rules.
@Suite struct TensorBoardFileTests {
    @Test func recordsHoldTheScalars() throws {
        try withTemporaryFolder { folder in
            let file = try TensorBoardFile(folder: folder, step: 7)
            try file.write([("train/loss", 1.5), ("übung", -0.25)], step: 300)
            let records = try Self.records(of: [UInt8](Data(contentsOf: URL(filePath: file.path))))
            try #require(records.count == 3)
            #expect(records[0].contains(Array("brain.Event:2".utf8)))
            // step 7 (field 2), session log (field 7) of status START
            #expect(records[1].contains([0x10, 7, 0x3A, 2, 0x08, 1]))
            // step 300, then a summary of two values
            #expect(records[2].contains([0x10, 0xAC, 0x02, 0x2A]))
            #expect(records[2].contains([0x0A, 10] + Array("train/loss".utf8) + [0x15, 0, 0, 0xC0, 0x3F]))
            #expect(records[2].contains([0x0A, 6] + Array("übung".utf8) + [0x15, 0, 0, 0x80, 0xBE]))
        }
    }

    @Test func filesOfOneSecondHaveDifferentNames() throws {
        try withTemporaryFolder { folder in
            let paths = try (0..<3).map { _ in try TensorBoardFile(folder: folder, step: 1).path }
            #expect(Set(paths).count == 3)
        }
    }

    @Test func missingFolderIsNamed() {
        #expect(throws: FileError.self) { try TensorBoardFile(folder: "/nonexistent/folder", step: 1) }
    }

    struct BadRecord: Error {}

    /// The data of each record, checksums checked.
    static func records(of bytes: [UInt8]) throws -> [[UInt8]] {
        var (rest, result) = (bytes[...], [[UInt8]]())
        func take(_ count: Int) throws -> [UInt8] {
            guard rest.count >= count else { throw BadRecord() }
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        func number(_ bytes: [UInt8]) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        while !rest.isEmpty {
            let length = try take(8)
            guard number(try take(4)) == masked(length) else { throw BadRecord() }
            let data = try take(Int(number(length)))
            guard number(try take(4)) == masked(data) else { throw BadRecord() }
            result.append(data)
        }
        return result
    }

    /// CRC-32C bit by bit: its check value, of "123456789", is E3069283.
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var value: UInt32 = .max
        for byte in bytes {
            value ^= UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
        }
        return ~value
    }

    static func masked(_ bytes: [UInt8]) -> UInt64 {
        let value = checksum(bytes)
        return UInt64((value >> 15 | value << 17) &+ 0xA282_EAD8)
    }

    @Test func theReadersChecksumIsCRC32C() { #expect(Self.checksum(Array("123456789".utf8)) == 0xE306_9283) }
}
