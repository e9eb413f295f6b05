import Synchronization
import Tensors

/// The bytes of one storage, which several tensors may share, in a mapped file.
final class StorageBytes: Sendable {
    private enum Source {
        case plain(Range<Int>)
        case member(ZipDirectory.Member)
    }

    private enum State {
        case unchecked
        case checked
        case inflated([UInt8])
        case failed(CheckpointError.Problem)
    }

    private let file: MappedFile
    private let source: Source
    private let state: Mutex<State>

    /// The number of bytes.
    let count: Int

    init(file: MappedFile, range: Range<Int>) {
        self.file = file
        self.source = .plain(range)
        self.count = range.count
        self.state = Mutex(.checked)
    }

    init(file: MappedFile, member: ZipDirectory.Member) {
        self.file = file
        self.source = .member(member)
        self.count = member.size
        self.state = Mutex(.unchecked)
    }

    /// Calls `body` with the bytes. The first call compares a zip member's checksum, and decompresses it if need be.
    func withBytes<R>(
        _ body: (UnsafeRawBufferPointer) throws(CheckpointError.Problem) -> R
    ) throws(CheckpointError.Problem) -> R {
        switch source {
        case .plain(let range):
            defer { releaseIfLarge(range) }
            return try body(UnsafeRawBufferPointer(rebasing: file.bytes[range]))
        case .member(let member):
            switch state.withLock({ state in prepare(member, &state) }) {
            case .unchecked, .checked:
                defer { releaseIfLarge(member.range) }
                return try body(UnsafeRawBufferPointer(rebasing: file.bytes[member.range]))
            case .inflated(let content):
                let result = content.withUnsafeBytes { bytes in
                    Result { () throws(CheckpointError.Problem) in try body(bytes) }
                }
                return try result.get()
            case .failed(let problem):
                throw problem
            }
        }
    }

    /// The elements have been copied; keeping their pages as well would hold a large checkpoint in memory twice.
    private func releaseIfLarge(_ range: Range<Int>) {
        if range.count >= 1 << 20 { file.release(range) }
    }

    private func prepare(_ member: ZipDirectory.Member, _ state: inout State) -> State {
        guard case .unchecked = state else { return state }
        if member.isCompressed {
            do throws(CheckpointError.Problem) {
                state = .inflated(try ZipInflater.inflate(member, of: file.bytes))
            } catch {
                state = .failed(error)
            }
        } else if member.checksum != 0,
            CRC32.checksum(UnsafeRawBufferPointer(rebasing: file.bytes[member.range])) != member.checksum
        {
            state = .failed(.damaged("the checksum of \(printable(member.name)) is wrong"))
        } else {
            state = .checked
        }
        return state
    }
}
