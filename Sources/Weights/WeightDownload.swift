import Foundation
import Tensors

/// One download into a store.
struct WeightDownload {
    typealias Problem = WeightDownloadError.Problem

    let entry: WeightEntry
    let store: WeightStore

    /// How often in a row a connection may break before this many bytes have come.
    private static let tries = 3
    private static let progress = 1 << 20

    /// Downloads the file. Does nothing if another process has done it in the meantime.
    func run() throws(WeightDownloadError) {
        do throws(Problem) {
            try fetch()
        } catch {
            throw WeightDownloadError(
                entry: entry, url: store.url(of: entry), path: store.path(of: entry), problem: error)
        }
    }

    private func fetch() throws(Problem) {
        guard let url = URL(string: store.url(of: entry)), ["http", "https"].contains(url.scheme),
            url.host?.isEmpty == false
        else { throw .badAddress }
        do {
            try FileManager.default.createDirectory(atPath: store.folder, withIntermediateDirectories: true)
        } catch {
            throw .file(.system(path: store.folder, operation: "create", reason: error.localizedDescription))
        }
        let target = store.path(of: entry)
        let locked = try Self.writing { () throws(FileError) in
            try PartialFile.lock(target: target) { store.onWaiting?(entry) }
        }
        guard let file = locked else { return }
        defer { file.deleteIfEmpty() }
        // What an earlier try has left may be damaged, or the server's file another one: then it starts anew, once.
        let isContinued = file.size > 0
        var hash = try download(url, into: file)
        if isContinued, !hash.hasPrefix(entry.hashPrefix) {
            try Self.writing(file.truncate)
            hash = try download(url, into: file)
        }
        guard hash.hasPrefix(entry.hashPrefix) else {
            file.delete()
            throw .wrongHash(found: String(hash.prefix(entry.hashPrefix.count)))
        }
        try Self.writing(file.commit)
    }

    /// Fetches what is missing and gives the SHA-256 of the whole.
    private func download(_ url: URL, into file: PartialFile) throws(Problem) -> String {
        var failures = 0
        while true {
            let before = file.size
            let transfer = HTTPTransfer(url: url, file: file, patience: store.patience) { received, total in
                store.onProgress?(WeightStore.Progress(entry: entry, received: received, total: total))
            }
            do throws(Problem) {
                try transfer.run()
                break
            } catch {
                guard case .interrupted = error else { throw error }
                failures = file.size - before >= Self.progress ? 0 : failures + 1
                if failures == Self.tries { throw error }
            }
        }
        return try Self.writing(file.hash)
    }

    private static func writing<R>(_ body: () throws(FileError) -> R) throws(Problem) -> R {
        do throws(FileError) { return try body() } catch { throw .file(error) }
    }
}
