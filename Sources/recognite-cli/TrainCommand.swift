import ArgumentParser
import Foundation
import Recognite

struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Train a recognizer on labelled pictures.",
        discussion: """
            The labels are divided into folds; those of one fold are for validation: some pictures of each become a \
            gallery, and the others are recognized by it after each epoch. Checkpoints, logs and the effective \
            configuration go to --ckpts-path. Ctrl-C ends the run after the step under way, and --resume goes on with it, \
            to the same bits as without the interruption.
            """)

    @OptionGroup(title: "Training options") var options: TrainingOptions

    @Option(
        help: ArgumentHelp(
            "A YAML file of options, `name: value` on each line; what is given on the command line comes before it.",
            valueName: "file.yaml"))
    var config: String?

    @Flag(help: "Go on with the run in --ckpts-path, with the configuration it was started with.")
    var resume = false

    @OptionGroup var engine: EngineOptions

    func validate() throws {
        if resume, config != nil { throw ValidationError("--resume takes the run's own configuration, not --config") }
    }

    func run() throws {
        try engine.apply {
            let configuration = try effectiveConfiguration()
            let path = configuration.ckptsPath + "/config.yaml"
            let folder = try RunFolder(configuration.ckptsPath)
            if !resume, folder.hasCheckpoint { throw TrainingError.folderInUse(folder.path) }
            try withRandomSeed(configuration.seed) { () throws(any Error) in
                let run = try withDownloadBar { store in try TrainingRun(configuration, from: store) }
                if resume { try run.trainer.resume(from: folder.checkpointPath) }
                try ConfigurationFile.write(configuration, to: path)
                try train(run, folder)
            }
        }
    }

    /// The options over the configuration file's, or over those of the run that goes on.
    private func effectiveConfiguration() throws -> TrainingConfiguration {
        var base = try config.map(ConfigurationFile.read) ?? TrainingConfiguration()
        if engine.seed != 0 { base.seed = engine.seed }
        guard resume else { return options.applied(to: base) }
        let folder = try RunFolder(options.applied(to: base).ckptsPath)
        guard folder.hasCheckpoint else {
            throw InputError(path: folder.checkpointPath, problem: "no run to resume")
        }
        var kept = try ConfigurationFile.read(folder.path + "/config.yaml")
        kept.ckptsPath = folder.path
        let changed = options.applied(to: kept)
        guard changed == kept else {
            // More epochs are the one change that a run can be resumed with.
            var longer = kept
            longer.epochs = changed.epochs
            guard changed == longer, changed.epochs >= kept.epochs else {
                throw InputError(
                    path: folder.path, problem: "--resume goes on with the run's own options; only --epochs may grow")
            }
            return longer
        }
        return kept
    }

    private func train(_ run: TrainingRun, _ folder: RunFolder) throws {
        describe(run)
        let interruption = Interruption()
        var display = TrainingDisplay(run.trainer)
        let outcome = try run.trainer.run(shouldStop: { interruption.isWanted }) { step in
            display.show(step)
        } onEpoch: { epoch in
            display.show(epoch)
        }
        display.finish()
        switch outcome {
        case .finished:
            let kept = [(folder.bestPath, "best"), (folder.lastPath, "last")].filter {
                FileManager.default.fileExists(atPath: $0.0)
            }
            for (path, name) in kept { print("\(name) weights: \(path)") }
        case .stopped:
            print(
                "stopped after step \(run.trainer.progress.step); go on with: "
                    + "recognite train --resume --ckpts-path \(folder.path)")
            throw ExitCode(130)
        }
    }

    private func describe(_ run: TrainingRun) {
        let configuration = run.configuration
        let ways = [
            configuration.quarterTurnClasses ? "turned four ways" : nil, configuration.mirrorClasses ? "mirrored" : nil,
        ]
        .compactMap { $0 }.joined(separator: " and ")
        var lines = [
            "\(configuration.model), \(run.recognizer.parameterCount) parameters, loss \(configuration.loss.rawValue), "
                + "\(run.trainer.totalSteps) steps in \(configuration.epochs) epochs",
            "training: \(run.train.count) pictures of \(run.train.labels.count) labels"
                + (ways.isEmpty ? "" : ", each \(ways): \(run.loader.classCount) classes"),
        ]
        if let (gallery, query) = run.validation {
            lines.append(
                "validation: \(gallery.count) gallery and \(query.count) query pictures of \(gallery.labels.count) labels"
            )
        } else {
            lines.append("validation: none")
        }
        if let last = run.loader.lastSample {
            let what = last == .merged ? "goes with the batch before it" : "is left out"
            lines.append("the last batch of each epoch has one picture, which \(what)")
        }
        print(lines.joined(separator: "\n"))
    }
}

/// Ctrl-C, once to stop after the step under way, twice to stop at once.
private final class Interruption {
    private let flag = Flag()
    private let source: any DispatchSourceSignal

    private final class Flag: @unchecked Sendable {
        private let lock = NSLock()
        private var count = 0
        var value: Int { lock.withLock { count } }
        func add() { lock.withLock { count += 1 } }
    }

    init() {
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler { [flag] in
            flag.add()
            if flag.value > 1 { exit(130) }
            StandardError.line("\nstopping after this step; press Ctrl-C again to stop at once")
        }
        source.resume()
    }

    deinit {
        source.cancel()
        signal(SIGINT, SIG_DFL)
    }

    var isWanted: Bool { flag.value > 0 }
}
