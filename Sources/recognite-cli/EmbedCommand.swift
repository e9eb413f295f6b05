import ArgumentParser
import Recognite

struct EmbedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed", abstract: "Compute embeddings of pictures, or logits of a recognizer in training mode.",
        discussion: """
            One vector per picture, in the order of the inputs. The output's ending chooses its format: .npy \
            (float32 [N, D]), .csv or .jsonl (with the input's name); without --output, JSON lines are printed. A \
            picture that cannot be read is reported and skipped, and the command then ends with exit code 1.
            """)

    enum Mode: String, ExpressibleByArgument, CaseIterable { case eval, train }

    @OptionGroup var modelOptions: ModelOptions

    @Option(help: ArgumentHelp("The number of classes of the recognizer's classifier.", valueName: "n"))
    var classes: Int?

    @Option(help: "eval: embeddings; train: logits of the classifier, with batch statistics and dropout.")
    var mode = Mode.eval

    @Flag(inversion: .prefixedNo, help: "Scale embeddings (and class weights) to norm 1.")
    var normalize = true

    @Option(
        help: ArgumentHelp(
            "What is made of the embeddings, as `recognite describe` writes it.", valueName: "file.safetensors"))
    var descriptor: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("A .npy, .csv or .jsonl file.", valueName: "file"))
    var output: String?

    @Option(
        help: ArgumentHelp(
            "Also write the recognizer's weights, for Python or for later.", valueName: "file.safetensors"))
    var saveWeights: String?

    @OptionGroup var inputOptions: InputOptions
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        if let classes, classes <= 0 { throw ValidationError("--classes must be positive") }
        if mode == .train, descriptor != nil { throw ValidationError("--descriptor goes with --mode eval") }
        if mode == .train, classes == nil { throw ValidationError("--mode train needs --classes") }
    }

    func run() throws {
        try engine.apply {
            let writer = try VectorWriter(path: output)
            let recognizer = try modelOptions.makeRecognizer(classes: classes, normalize: normalize)
            try saveWeights.map { try recognizer.stateDict().write(safetensorsTo: $0) }
            let preset = try modelOptions.preset(inputOptions.preset, for: recognizer.backbone)
            let descriptor = try descriptor.map { try EmbeddingDescriptor(contentsOf: $0) }
            try descriptor?.prepare(recognizer)
            recognizer.train(mode == .train)
            let runner = BatchRunner(options: inputOptions, preset: preset, descriptor: descriptor)
            let unreadable = try runner.run(recognizer) {
                try writer.write($0)
            }
            try writer.finish()
            if unreadable > 0 { throw ExitCode.failure }
        }
    }
}
