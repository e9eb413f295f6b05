import Foundation

/// The folder of downloaded weights, which is PyTorch's own, and the address that they come from.
///
/// A file that is there is used as it is. A missing one is downloaded to a temporary name, its hash compared, and then
/// renamed, so that a file under its own name is whole. A download that was cut is continued by the next try. Threads
/// and processes that want the same file wait for the first of them.
public struct WeightStore: Sendable {
    /// How far a download is: bytes that are there, and the number that there will be, if the server says so.
    public struct Progress: Sendable {
        public let entry: WeightEntry
        public let received: Int
        public let total: Int?
    }

    /// The folder of the files.
    public let folder: String
    /// Replaces the folder part of every entry's URL; `nil`: the files come from where torchvision gets them.
    public let mirror: String?
    /// How long a server may be silent, in seconds.
    public var patience: Double = 60
    /// Called as a download proceeds, from another thread.
    public var onProgress: (@Sendable (Progress) -> Void)?
    /// Called once when another process is downloading the file that is wanted, before waiting for it.
    public var onWaiting: (@Sendable (WeightEntry) -> Void)?

    /// The environment variable that names a mirror.
    public static let mirrorVariable = "RECOGNITE_WEIGHTS_URL"

    /// - Parameters:
    ///   - folder: `nil`: PyTorch's, `$TORCH_HOME/hub/checkpoints`, where `TORCH_HOME` defaults to
    ///     `$XDG_CACHE_HOME/torch` and that to `~/.cache/torch`.
    ///   - mirror: an address that has files of the entries' names, `http` or `https`; `nil`: the one that the
    ///     environment variable `RECOGNITE_WEIGHTS_URL` names, if any.
    public init(
        folder: String? = nil, mirror: String? = nil,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) {
        self.folder = folder ?? Self.torchFolder(environment)
        self.mirror = mirror ?? environment[Self.mirrorVariable].flatMap { $0.isEmpty ? nil : $0 }
    }

    private static func torchFolder(_ environment: [String: String]) -> String {
        let home = environment["HOME"] ?? NSHomeDirectory()
        func expanded(_ path: String) -> String {
            path == "~" || path.hasPrefix("~/") ? home + path.dropFirst() : path
        }
        let torch = environment["TORCH_HOME"] ?? (environment["XDG_CACHE_HOME"] ?? "~/.cache") + "/torch"
        return expanded(torch) + "/hub/checkpoints"
    }

    /// Where an entry's file is or will be.
    public func path(of entry: WeightEntry) -> String { "\(folder)/\(entry.fileName)" }

    /// Whether an entry's file is there.
    public func contains(_ entry: WeightEntry) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path(of: entry), isDirectory: &isFolder) && !isFolder.boolValue
    }

    /// The address that an entry's file is downloaded from.
    public func url(of entry: WeightEntry) -> String {
        guard let mirror else { return entry.url }
        return mirror + (mirror.hasSuffix("/") ? "" : "/") + entry.fileName
    }

    /// The path of an entry's file, which is downloaded if it is not there. Blocks until it is: not for an async
    /// context's own thread.
    ///
    /// - Throws: ``WeightDownloadError``.
    public func fetch(_ entry: WeightEntry) throws(WeightDownloadError) -> String {
        if !contains(entry) { try WeightDownload(entry: entry, store: self).run() }
        return path(of: entry)
    }
}
