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

    @Option(help: ArgumentHelp("Models, separated by commas; \"all\" for every one.", valueName: "a,b"))
    var models = "resnet50,mobilenet_v2"

    @Option(help: ArgumentHelp("Batch sizes, separated by commas.", valueName: "n,m"))
    var batches = "1,8"

    @Option(
        help: ArgumentHelp(
            "The side of the square images, in pixels; if not given, 224 (299 for inception_v3).", valueName: "pixels"))
    var size: Int?

    @Option(help: "Threads; 0: as many as the process may use.")
    var threads = 0

    @Option(help: "Seconds to measure each cell.")
    var seconds = 1.5

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
            "What --train measures: models with the side of the images and the batch size, separated by commas.",
            valueName: "model:side:batch,…"))
    var cells = "resnet18:224:16,resnet18:64:64,resnet50:224:8,vit_b_32:224:8,mobilenet_v3_large:224:16"

    @Flag(help: "Let --train compute the activations of each block twice instead of keeping them.")
    var checkpoint = false

    @Flag(help: "Print one JSON object per cell instead of a table.")
    var json = false

    private var modelNames: [String] {
        models == "all" ? supportedModels : models.split(separator: ",").map(String.init)
    }

    func validate() throws {
        guard threads >= 0 else { throw ValidationError("--threads must not be negative") }
        guard seconds >= 0, seconds.isFinite else { throw ValidationError("--seconds must be a time") }
        if let size, size < 1 { throw ValidationError("--size must be positive") }
        if size != nil, load != nil || growth != nil || train || embedder {
            throw ValidationError("--size is for embeddings of batches; --train takes sizes in --cells")
        }
        if let growth, growth < 10 { throw ValidationError("--growth needs 10 runs at least") }
        guard batchSizes != nil else { throw ValidationError("--batches must be positive numbers, not \"\(batches)\"") }
        guard trainingCells != nil else {
            throw ValidationError("--cells must be model:side:batch, separated by commas, not \"\(cells)\"")
        }
        do {
            for name in modelNames + trainingCells!.map(\.model) { _ = try ModelRegistry.entry(name) }
        } catch {
            throw ValidationError("\(error)")
        }
    }

    /// `nil` if one of them is no positive number.
    private var batchSizes: [Int]? {
        let sizes = batches.split(separator: ",").map { Int($0).flatMap { $0 > 0 ? $0 : nil } }
        return sizes.isEmpty || sizes.contains(nil) ? nil : sizes.compactMap { $0 }
    }

    /// `nil` if one of them is not readable.
    private var trainingCells: [TrainResult.Cell]? {
        let parsed = cells.split(separator: ",").map { TrainResult.Cell(String($0)) }
        return parsed.isEmpty || parsed.contains(nil) ? nil : parsed.compactMap { $0 }
    }

    func run() async throws {
        Engine.setThreads(threads)
        if let load {
            for name in modelNames { print(try LoadResult.measure(name, file: load).text) }
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
