import ArgumentParser
import Foundation
import Recognite

@main
struct BenchmarkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recognite-benchmark",
        abstract: "Measures how long models take to compute embeddings, with random weights and images.",
        discussion: """
            A cell is a model and a batch size: one run to warm up, then runs for the given time, three at least; the \
            median counts.
            """)

    @Option(
        help: ArgumentHelp(
            "Models, separated by commas; \"all\" for every one. (default: resnet50,mobilenet_v2)", valueName: "a,b"))
    var models: String?

    @Option(
        help: ArgumentHelp(
            "Batch sizes, separated by commas. (default: 1,8; of the first embedding after --load 1)", valueName: "n,m"
        ))
    var batches: String?

    @Option(
        help: ArgumentHelp(
            "The side of the square images, in pixels; if not given, 224 (299 for inception_v3).", valueName: "pixels"))
    var size: Int?

    @Option(help: "Threads; 0: as many as the process may use.")
    var threads = 0

    @Option(help: ArgumentHelp("Seconds to measure each cell. (default: 1.5)", valueName: "seconds"))
    var seconds: Double?

    @Option(
        help: ArgumentHelp(
            "Measure instead how long it takes to load this checkpoint into the model and to the first embedding, and how much "
                + "memory.",
            valueName: "file"))
    var load: String?

    @Flag(help: "Measure instead an Embedder: the latency of a lone caller, and the throughput of 64 callers at once.")
    var embedder = false

    @Option(
        help: ArgumentHelp(
            "Measure instead what the process holds over so many runs of changing batches and sizes.", valueName: "runs"
        ))
    var growth: Int?

    @Flag(help: "Measure instead training steps: forward pass, backward pass, SGD with momentum; see --cells.")
    var train = false

    @Option(
        help: ArgumentHelp(
            "What --train measures: models with the side of the images and the batch size, separated by commas. (default: "
                + Self.usualCells + ")", valueName: "model:side:batch,…"))
    var cells: String?

    @Flag(help: "Let --train compute the activations of each block twice instead of keeping them.")
    var checkpoint = false

    @Flag(help: "Print one JSON object per cell instead of a table.")
    var json = false

    private static let usualCells =
        "resnet18:224:16,resnet18:64:64,resnet50:224:8,vit_b_32:224:8,mobilenet_v3_large:224:16"

    /// What is measured, by the option that asks for it.
    private enum Mode: String {
        case embeddings = "embeddings", load = "--load", embedder = "--embedder", growth = "--growth", train = "--train"
    }

    /// All that were asked for.
    private var modes: [Mode] {
        (load == nil ? [] : [.load]) + (embedder ? [.embedder] : []) + (growth == nil ? [] : [.growth])
            + (train ? [.train] : [])
    }

    private var modelNames: [String] {
        let models = models ?? "resnet50,mobilenet_v2"
        return models == "all" ? supportedModels : models.split(separator: ",").map(String.init)
    }

    /// Refuses options that would be ignored.
    private func checkOptions() throws {
        guard modes.count <= 1 else {
            throw ValidationError(modes.map(\.rawValue).joined(separator: " and ") + " are different measurements")
        }
        let mode = modes.first ?? .embeddings
        let uses: [(option: String, isGiven: Bool, modes: [Mode])] = [
            ("--models", models != nil, [.embeddings, .load, .embedder, .growth]),
            ("--batches", batches != nil, [.embeddings, .load]),
            ("--size", size != nil, [.embeddings]),
            ("--seconds", seconds != nil, [.embeddings, .embedder, .train]),
            ("--cells", cells != nil, [.train]),
            ("--checkpoint", checkpoint, [.train]),
            ("--json", json, [.embeddings, .embedder, .train]),
        ]
        if let use = uses.first(where: { $0.isGiven && !$0.modes.contains(mode) }) {
            let place = mode == .embeddings ? "without " + use.modes[0].rawValue : "with " + mode.rawValue
            throw ValidationError("\(use.option) has no meaning \(place)")
        }
    }

    func validate() throws {
        try checkOptions()
        guard threads >= 0 else { throw ValidationError("--threads must not be negative") }
        if let seconds, !(seconds >= 0 && seconds.isFinite) { throw ValidationError("--seconds must be a time") }
        if let size, size < 1 { throw ValidationError("--size must be positive") }
        if let growth, growth < 10 { throw ValidationError("--growth needs 10 runs at least") }
        guard batchSizes != nil else {
            throw ValidationError("--batches must be positive numbers, not \"\(batches ?? "")\"")
        }
        guard trainingCells != nil else {
            throw ValidationError("--cells must be model:side:batch, separated by commas, not \"\(cells ?? "")\"")
        }
        do {
            for name in modelNames + trainingCells!.map(\.model) { _ = try ModelRegistry.entry(name) }
        } catch {
            throw ValidationError("\(error)")
        }
    }

    /// `nil` if one of them is no positive number.
    private var batchSizes: [Int]? {
        let sizes = (batches ?? (load == nil ? "1,8" : "1")).split(separator: ",").map {
            Int($0).flatMap { $0 > 0 ? $0 : nil }
        }
        return sizes.isEmpty || sizes.contains(nil) ? nil : sizes.compactMap { $0 }
    }

    /// `nil` if one of them is not readable.
    private var trainingCells: [TrainResult.Cell]? {
        let parsed = (cells ?? Self.usualCells).split(separator: ",").map { TrainResult.Cell(String($0)) }
        return parsed.isEmpty || parsed.contains(nil) ? nil : parsed.compactMap { $0 }
    }

    func run() async throws {
        Engine.setThreads(threads)
        let seconds = seconds ?? 1.5
        if let load {
            for name in modelNames {
                for batch in batchSizes! { print(try LoadResult.measure(name, file: load, batch: batch).text) }
            }
            return
        }
        if let growth {
            for name in modelNames { print(try GrowthResult.measure(name, runs: growth).text) }
            return
        }
        if train {
            for cell in trainingCells! {
                let result = try TrainResult.measure(cell, checkpointed: checkpoint, seconds: seconds)
                print(json ? try result.json() : result.text)
                fflush(nil)
            }
            return
        }
        if embedder {
            for name in modelNames {
                let result = try await EmbedderResult.measure(name, seconds: seconds)
                print(json ? try result.json() : result.text)
            }
            return
        }
        if !json { print(BenchmarkResult.header) }
        for name in modelNames {
            for batch in batchSizes! {
                let result = try BenchmarkResult.measure(name, batch: batch, side: size, seconds: seconds)
                print(json ? try result.json() : result.row)
                fflush(nil)
            }
        }
    }
}
