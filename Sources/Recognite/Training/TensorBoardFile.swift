import Foundation
import Tensors

/// A file of scalars that TensorBoard reads: `events.out.tfevents.…` in a run's folder.
///
/// The format is TensorFlow's: records of a length, the data and masked CRC-32C checksums of both
/// (tensorflow/core/lib/io/record_writer.h); the data are `Event` messages (tensorflow/core/util/event.proto), of which
/// five fields are written.
public final class TensorBoardFile {
    public let path: String
    private let handle: FileHandle

    /// Starts a new file in a folder.
    ///
    /// - Parameter step: where a resumed run goes on; TensorBoard forgets what earlier files hold beyond it.
    /// - Throws: `FileError`.
    public init(folder: String, step: Int) throws(FileError) {
        let start = "\(folder)/events.out.tfevents.\(Int(Date().timeIntervalSince1970)).recognite"
        // Two starts within a second get different names, and sort in order.
        let number = (0...).first { !FileManager.default.fileExists(atPath: "\(start).\($0)") }!
        path = "\(start).\(number)"
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else { throw .lastSystemError("write", path) }
        self.handle = handle
        try write(Message().text(3, "brain.Event:2"), step: 0)
        // SessionLog, status START: events of earlier files at this step and later are void.
        try write(Message().message(7, Message().integer(1, 1)), step: step)
    }

    /// Appends values of one step, by their tags.
    ///
    /// - Throws: `FileError`.
    public func write(_ scalars: [(tag: String, value: Double)], step: Int) throws(FileError) {
        guard !scalars.isEmpty else { return }
        let summary = scalars.reduce(Message()) { summary, scalar in
            summary.message(1, Message().text(1, scalar.tag).float(2, Float(scalar.value)))
        }
        try write(Message().message(5, summary), step: step)
    }

    private func write(_ content: Message, step: Int) throws(FileError) {
        let event = Message().double(1, Date().timeIntervalSince1970).integer(2, step)
        let data = event.bytes + content.bytes
        let length = littleEndian(UInt64(data.count))
        let record =
            length + littleEndian(CRC32C.masked(length)) + data + littleEndian(CRC32C.masked(data))
        do { try handle.write(contentsOf: Data(record)) } catch {
            throw .system(path: path, operation: "write", reason: error.localizedDescription)
        }
    }
}

private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// The fields of a protobuf message (https://protobuf.dev/programming-guides/encoding).
private struct Message {
    var bytes: [UInt8] = []

    private func field(_ number: Int, wireType: Int, _ content: [UInt8]) -> Message {
        Message(bytes: bytes + Self.variable(UInt64(number << 3 | wireType)) + content)
    }

    /// Seven bits a byte, the lowest first.
    private static func variable(_ value: UInt64) -> [UInt8] {
        var (rest, result) = (value, [UInt8]())
        while rest >= 0x80 {
            result.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return result + [UInt8(rest)]
    }

    func integer(_ number: Int, _ value: Int) -> Message {
        field(number, wireType: 0, Self.variable(UInt64(bitPattern: Int64(value))))
    }
    func double(_ number: Int, _ value: Double) -> Message {
        field(number, wireType: 1, littleEndian(value.bitPattern))
    }
    func float(_ number: Int, _ value: Float) -> Message {
        field(number, wireType: 5, littleEndian(value.bitPattern))
    }
    func text(_ number: Int, _ value: String) -> Message {
        field(number, wireType: 2, Self.variable(UInt64(value.utf8.count)) + Array(value.utf8))
    }
    func message(_ number: Int, _ value: Message) -> Message {
        field(number, wireType: 2, Self.variable(UInt64(value.bytes.count)) + value.bytes)
    }
}
