import Tensors

/// Why weights could not be downloaded; says where they would have come from and where they can be put by hand.
public struct WeightDownloadError: Error, CustomStringConvertible {
    public enum Problem: Error, Sendable {
        /// The address is none of `http` or `https`.
        case badAddress
        /// No answer, or none that could be understood; the reason.
        case unreachable(String)
        /// The server's answer had another status than success.
        case status(Int)
        /// The connection broke; what has come is kept for the next try.
        case interrupted(received: Int, total: Int?, reason: String)
        /// The file does not have the hash of its name. It was deleted.
        case wrongHash(found: String)
        /// The file could not be written.
        case file(FileError)
    }

    public let entry: WeightEntry
    /// The address that was tried.
    public let url: String
    /// Where the file belongs.
    public let path: String
    public let problem: Problem

    public var description: String {
        "cannot download \(entry.fullName) from \(url): \(reason); the file can also be put at \(path) by hand"
    }

    private var reason: String {
        switch problem {
        case .badAddress: "not an http or https address"
        case .unreachable(let reason): reason
        case .status(let status): "the server answered with status \(status)"
        case .interrupted(let received, let total, let reason):
            "the connection broke after \(received)\(total.map { " of \($0)" } ?? "") bytes (\(reason)), which the "
                + "next try continues"
        case .wrongHash(let found):
            "the SHA-256 of what came begins with \(found), not \(entry.hashPrefix), so it was deleted"
        case .file(let error): "\(error)"
        }
    }
}
