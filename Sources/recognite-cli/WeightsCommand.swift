import ArgumentParser
import Recognite

struct WeightsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weights", abstract: "List and download published weights.",
        discussion: """
            They are kept where PyTorch keeps them: $TORCH_HOME/hub/checkpoints, by default \
            ~/.cache/torch/hub/checkpoints. The environment variable RECOGNITE_WEIGHTS_URL names another address with \
            the same files.
            """,
        subcommands: [List.self, Fetch.self, Path.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List published weights.")

        @Argument(help: ArgumentHelp("Architectures; all, if none is named.", valueName: "model"))
        var models: [String] = []

        @Flag(help: "Only those that are on this machine.")
        var downloaded = false

        @Flag(help: "Print a JSON array.")
        var json = false

        @OptionGroup var engine: EngineOptions

        func run() throws {
            try engine.apply {
                let store = WeightStore()
                let all =
                    try models.isEmpty
                    ? WeightCatalogue.entries
                    : models.flatMap { model in
                        WeightCatalogue.entries(of: try ModelRegistry.entry(model).name)
                    }
                let shown = all.filter { !downloaded || store.contains($0) }
                try WeightsTable(shown, store: store).print(json: json)
            }
        }
    }

    struct Fetch: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Download weights, if they are not there, and print the files' paths.")

        @OptionGroup var selection: Selection

        @Option(help: ArgumentHelp("Another address with the same files.", valueName: "url"))
        var mirror: String?

        @OptionGroup var engine: EngineOptions

        func run() throws {
            try engine.apply {
                let entry = try selection.entry
                print(try withDownloadBar(mirror: mirror) { try $0.fetch(entry) })
            }
        }
    }

    struct Path: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print where the file of weights is, or would be.",
            discussion: "Exit code 1 if it is not there; the path is printed all the same.")

        @OptionGroup var selection: Selection
        @OptionGroup var engine: EngineOptions

        func run() throws {
            try engine.apply {
                let (store, entry) = (WeightStore(), try selection.entry)
                print(store.path(of: entry))
                if !store.contains(entry) { throw ExitCode.failure }
            }
        }
    }

    /// An entry of the catalogue.
    struct Selection: ParsableArguments {
        @Argument(help: "The architecture, or the full name of weights, such as ResNet50_Weights.IMAGENET1K_V2.")
        var model: String

        @Argument(help: "The name of weights.")
        var name = "DEFAULT"

        var entry: WeightEntry {
            get throws {
                if let entry = WeightCatalogue.entries.first(where: { $0.fullName == model }) { return entry }
                return try WeightCatalogue.entry(name, of: ModelRegistry.entry(model).name)
            }
        }
    }
}
