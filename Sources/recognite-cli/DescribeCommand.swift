import ArgumentParser
import Recognite

struct DescribeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Write a descriptor: what is made of embeddings before they are compared.",
        discussion: """
            GeM pooling in place of the network's average pooling over all positions, which AlexNet, VGG and the \
            Vision Transformer do not have; the mean over mirrored and resized pictures; a PCA whitening that is \
            fitted to the embeddings of labelled pictures, which should not be those that the descriptor will be tried \
            on; and the scaling to norm 1. Pictures are resized and cropped as in training's validation.
            """)

    @OptionGroup var modelOptions: ModelOptions

    @Option(
        help: ArgumentHelp(
            "Pictures to fit --whiten to: a CSV with a column of pictures (relative to it) and one of labels, or a "
                + "folder with a folder of pictures for each label.", valueName: "csv|folder"))
    var fit: String?

    @Option(help: ArgumentHelp("The CSV's column of pictures.", valueName: "name"))
    var imageKey = "image"

    @Option(help: ArgumentHelp("The CSV's column of labels.", valueName: "name"))
    var labelKey = "label"

    @Flag(help: "Average the embeddings of a picture and of its mirror image.")
    var flip = false

    @Option(help: ArgumentHelp("Average the embeddings of pictures scaled so. Default: 1.", valueName: "x,x"))
    var scales: ListArgument<Double>?

    @Option(help: ArgumentHelp("GeM pooling with this exponent, from 1 to 6; 3 is usual.", valueName: "p"))
    var gem: Float?

    @Option(
        help: ArgumentHelp(
            "Whiten to so many dimensions, less than --fit has pictures; \"all\": as many as an embedding has.",
            valueName: "n|all"))
    var whiten: WhiteningArgument?

    @Flag(inversion: .prefixedNo, help: "Scale the finished embeddings to norm 1.")
    var normalize = true

    @Option(
        help: ArgumentHelp("The side of the network's input. Default: that of the weights.", valueName: "pixels"))
    var size: Int?

    @Option(help: "Pictures that are run through the network at once.")
    var batchSize = 32

    @Option(help: "Threads that read pictures.")
    var workers = 2

    @Option(name: .shortAndLong, help: ArgumentHelp("The descriptor's file.", valueName: "file.safetensors"))
    var output: String

    @OptionGroup var engine: EngineOptions

    func validate() throws {
        for scale in scales?.values ?? [1] where !(scale > 0 && scale <= EmbeddingDescriptor.Settings.largestScale) {
            throw ValidationError("--scales must be positive, and at most \(EmbeddingDescriptor.Settings.largestScale)")
        }
        if scales?.values.isEmpty == true { throw ValidationError("--scales needs at least one scale") }
        if let gem, !GeMPool2d.exponents.contains(gem) { throw ValidationError("--gem must be from 1 to 6") }
        if whiten != nil, fit == nil { throw ValidationError("--whiten needs --fit") }
        if fit != nil, whiten == nil { throw ValidationError("--fit is for --whiten; give both or none") }
        if let size, size <= 0 { throw ValidationError("--size must be positive") }
        guard batchSize > 0, workers > 0 else {
            throw ValidationError("--batch-size and --workers must be positive")
        }
    }

    func run() throws {
        try engine.apply {
            // Before the network is built, so that bad rows are known at once.
            let table = try fit.map { path in
                try ImageTable(contentsOf: path, imageColumn: imageKey, labelColumn: labelKey)
            }
            let recognizer = try modelOptions.makeRecognizer()
            recognizer.eval()
            var descriptor = EmbeddingDescriptor(
                EmbeddingDescriptor.Settings(
                    flip: flip, scales: scales?.values ?? [1], gem: gem, normalizes: normalize))
            try descriptor.prepare(recognizer)
            let preset = try modelOptions.preset(nil, for: recognizer.backbone)
            let side = size ?? preset.cropSize
            try descriptor.checkInput(recognizer, shape: [1, side, side, 3])
            if let table, let whiten {
                let loader = try ImageLoader(
                    table, transform: EvaluationTransform(size: side, normalization: preset.normalization),
                    batchSize: batchSize, workers: workers)
                let embeddings = try recognizer.averagedEmbeddings(of: loader, descriptor: descriptor)
                descriptor = try descriptor.fitted(to: embeddings, dimension: whiten.dimension)
            }
            try descriptor.write(to: output)
            let dimension = descriptor.whitening?.dimension ?? recognizer.embeddingSize
            print("\(output): \(summary(descriptor)); \(dimension) features")
        }
    }

    private func summary(_ descriptor: EmbeddingDescriptor) -> String {
        let settings = descriptor.settings
        var parts: [String] = []
        if let gem = settings.gem { parts.append("GeM pooling with p = \(gem)") }
        if settings.flip { parts.append("mirror images") }
        if settings.scales != [1] { parts.append("scales " + settings.scales.map { "\($0)" }.joined(separator: ", ")) }
        if let whitening = descriptor.whitening {
            parts.append("whitening from \(whitening.inputSize) to \(whitening.dimension) dimensions")
        }
        if settings.normalizes { parts.append("norm 1") }
        return parts.isEmpty ? "embeddings as they are" : parts.joined(separator: ", ")
    }
}

/// A number of dimensions, or "all".
struct WhiteningArgument: ExpressibleByArgument {
    /// `nil`: all.
    let dimension: Int?

    init?(argument: String) {
        if argument.lowercased() == "all" {
            dimension = nil
        } else if let number = Int(argument), number > 0 {
            dimension = number
        } else {
            return nil
        }
    }
}
