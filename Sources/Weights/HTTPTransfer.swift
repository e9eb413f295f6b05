import Dispatch
import Foundation
import Synchronization
import Tensors

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// One GET request whose body goes behind what a file holds already.
final class HTTPTransfer: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    private struct State {
        /// Bytes that the whole file will have.
        var total: Int?
        var problem: WeightDownloadError.Problem?
        /// The server says that it has nothing behind what is there.
        var isBeyondEnd = false
    }

    private let url: URL
    private let file: PartialFile
    private let patience: Double
    private let onProgress: @Sendable (Int, Int?) -> Void
    private let state = Mutex(State())
    private let finished = DispatchSemaphore(value: 0)

    init(
        url: URL, file: PartialFile, patience: Double, onProgress: @escaping @Sendable (Int, Int?) -> Void
    ) {
        self.url = url
        self.file = file
        self.patience = patience
        self.onProgress = onProgress
    }

    /// Runs the request to its end.
    ///
    /// - Throws: `interrupted` if the connection broke, in which case what came is in the file.
    func run() throws(WeightDownloadError.Problem) {
        let start = file.size
        var request = URLRequest(
            url: url, cachePolicy: .reloadIgnoringLocalAndRemoteCacheData, timeoutInterval: patience)
        // A transfer that is compressed on the way could not be continued at an offset.
        request.setValue("identity", forHTTPHeaderField: "Accept-Encoding")
        if start > 0 { request.setValue("bytes=\(start)-", forHTTPHeaderField: "Range") }
        let configuration = URLSessionConfiguration.ephemeral
        configuration.timeoutIntervalForRequest = patience
        let queue = OperationQueue()
        queue.maxConcurrentOperationCount = 1
        let session = URLSession(configuration: configuration, delegate: self, delegateQueue: queue)
        session.dataTask(with: request).resume()
        finished.wait()
        // Also lets go of this object, which the session holds.
        session.invalidateAndCancel()

        let (total, problem, isBeyondEnd) = state.withLock { ($0.total, $0.problem, $0.isBeyondEnd) }
        // What is there is as long as the file, or longer; the hash tells.
        if isBeyondEnd { return }
        if let problem { throw problem }
        let received = file.size
        if let total, received != total {
            throw .interrupted(received: received, total: total, reason: "it ended early")
        }
    }

    // MARK: The session's calls, one at a time

    func urlSession(
        _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping @Sendable (URLSession.ResponseDisposition) -> Void
    ) {
        do throws(WeightDownloadError.Problem) {
            completionHandler(try accept(response) ? .allow : .cancel)
        } catch {
            state.withLock { $0.problem = error }
            completionHandler(.cancel)
        }
    }

    /// Whether the body is wanted.
    private func accept(_ response: URLResponse) throws(WeightDownloadError.Problem) -> Bool {
        guard let response = response as? HTTPURLResponse else { throw .unreachable("not an answer in HTTP") }
        let length = response.expectedContentLength
        switch response.statusCode {
        case 200:
            // The whole file, asked for or not.
            do throws(FileError) { try file.truncate() } catch { throw .file(error) }
            state.withLock { $0.total = length >= 0 ? Int(length) : nil }
        case 206:
            let start = file.size
            let range = response.value(forHTTPHeaderField: "Content-Range") ?? ""
            guard range.hasPrefix("bytes \(start)-") else {
                throw .unreachable("asked for the bytes from \(start) on, the server sends \"\(range)\"")
            }
            let total = range.split(separator: "/").last.flatMap { Int($0) }
            state.withLock { $0.total = total ?? (length >= 0 ? start + Int(length) : nil) }
        case 416 where file.size > 0:
            state.withLock { $0.isBeyondEnd = true }
            return false
        default:
            throw .status(response.statusCode)
        }
        return true
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        guard state.withLock({ $0.problem == nil && !$0.isBeyondEnd }) else { return }
        let result = data.withUnsafeBytes { bytes in
            Result { () throws(FileError) in try file.append(bytes) }
        }
        if case .failure(let error) = result {
            state.withLock { $0.problem = .file(error) }
            dataTask.cancel()
        } else {
            onProgress(file.size, state.withLock { $0.total })
        }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        if let error {
            let received = file.size
            let reason = Self.reason(error)
            let hasAnswer = task.response != nil
            state.withLock { state in
                guard state.problem == nil, !state.isBeyondEnd else { return }
                state.problem =
                    hasAnswer
                    ? .interrupted(received: received, total: state.total, reason: reason) : .unreachable(reason)
            }
        }
        finished.signal()
    }

    private static func reason(_ error: any Error) -> String {
        switch (error as? URLError)?.code {
        case .timedOut?: "no answer in time"
        case .cannotFindHost?, .dnsLookupFailed?: "the host is unknown; is this machine offline?"
        case .cannotConnectToHost?: "no connection; is this machine offline?"
        case .networkConnectionLost?: "connection lost"
        case .notConnectedToInternet?: "this machine is offline"
        default: error.localizedDescription
        }
    }
}
