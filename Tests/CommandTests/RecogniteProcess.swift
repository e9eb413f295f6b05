import Foundation

/// Runs the built `recognite` command.
struct RecogniteProcess {
    let status: Int32
    let output: String
    let errors: String

    /// The command lies beside the test bundle.
    private static let executable: URL = {
        var folder = Bundle.main.bundleURL
        #if canImport(Darwin)
            folder = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }!.bundleURL
                .deletingLastPathComponent()
        #endif
        return folder.appending(path: "recognite")
    }()

    static func run(_ arguments: String..., environment: [String: String] = [:]) throws -> RecogniteProcess {
        try run(arguments, environment: environment)
    }

    static func run(_ arguments: [String], environment: [String: String]) throws -> RecogniteProcess {
        let process = Process()
        process.executableURL = executable
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // The error pipe is short; the output is drained first, so that the command cannot block on it.
        let text = output.fileHandleForReading.readDataToEndOfFile()
        let messages = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return RecogniteProcess(
            status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
            errors: String(decoding: messages, as: UTF8.self))
    }
}
