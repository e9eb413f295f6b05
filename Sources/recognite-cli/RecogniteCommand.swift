import ArgumentParser
import Logging
import Recognite

@main
struct RecogniteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recognite",
        abstract: "Embeddings of images by torchvision's networks, without Python.",
        subcommands: [
            ModelsCommand.self, InspectCommand.self, EmbedCommand.self, ClassifyCommand.self, CompareCommand.self,
            SplitCommand.self, TrainCommand.self, EvaluateCommand.self, DescribeCommand.self, WeightsCommand.self,
            DoctorCommand.self,
        ])
}

/// What every command takes.
struct EngineOptions: ParsableArguments {
    @Option(help: "Threads to compute with; 0: as many as the process may use.")
    var threads = 0

    @Option(help: "Seed of random weights and of everything else that is drawn.")
    var seed: UInt64 = 0

    func validate() throws {
        guard threads >= 0 else { throw ValidationError("--threads must not be negative") }
    }

    /// Runs a command's work with these options in force.
    func apply(_ body: () throws -> Void) throws {
        LoggingSystem.bootstrap { _ in NoteLogHandler() }
        Engine.setThreads(threads)
        try withRandomSeed(seed) { () throws(any Error) in try body() }
    }
}
