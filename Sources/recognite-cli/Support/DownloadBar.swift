import Logging
import Recognite
import Synchronization

/// Calls `body` with the store of weights, whose downloads show on the terminal.
func withDownloadBar<R>(mirror: String? = nil, _ body: (WeightStore) throws -> R) rethrows -> R {
    let bar = DownloadBar()
    defer { bar.finish() }
    var store = WeightStore(mirror: mirror)
    store.onProgress = { bar.show($0) }
    store.onWaiting = { entry in
        Logger(label: "recognite.command").notice("another process is downloading \(entry.fullName), waiting for it")
    }
    return try body(store)
}

/// How far a download is.
private final class DownloadBar: Sendable {
    private let bar = Mutex<ProgressBar?>(nil)

    func show(_ progress: WeightStore.Progress) {
        let megabyte = 1 << 20
        bar.withLock { bar in
            let total =
                progress.total.map { ($0 + megabyte - 1) / megabyte } ?? Int(progress.entry.megabytes.rounded(.up))
            if bar == nil { bar = ProgressBar(total: total, unit: "MB") }
            bar?.show(min(total, (progress.received + megabyte - 1) / megabyte))
        }
    }

    func finish() { bar.withLock { $0?.finish() } }
}
