import ArgumentParser
import Logging
import Recognite

/// Which network, and with which weights.
struct ModelOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The architecture; see `recognite models`.", valueName: "name"))
    var model: String

    @Option(
        help: ArgumentHelp(
            "Published weights by torchvision's name, such as DEFAULT or IMAGENET1K_V1, which are downloaded if need "
                + "be (see `recognite weights`); or a checkpoint: .pth, .pt or .safetensors, of the classification "
                + "model or of a recognizer. Without it the weights are random.", valueName: "name|file"))
    var weights: String?

    @Option(
        help: ArgumentHelp(
            "The side of the images that vit_* and maxvit_t are built for. A Vision Transformer's weights are fitted "
                + "to it. By default that of the weights.", valueName: "pixels"))
    var imageSize: Int?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "For googlenet and inception_v3: normalize images anew, as their published weights want it. By default "
                + "for those alone, and not for files."))
    var transformInput: Bool?

    func validate() throws {
        if let imageSize, imageSize <= 0 { throw ValidationError("--image-size must be positive") }
    }

    private var pretrained: PretrainedWeights? { weights.map { PretrainedWeights($0) } }

    /// The preset of a network's inputs: the one that the command line names, or that of the weights.
    ///
    /// - Parameter network: the classification model, or what is left of it.
    func preset(_ named: PresetArgument?, for network: Module) throws -> ClassificationPreset {
        if let named { return named.preset }
        var size = try ModelRegistry.entry(model).inputSize
        if case .exactly(let height, _)? = (network as? any ImageSizeLimiting)?.imageSizeRule { size = height }
        guard var preset = try pretrained?.catalogueEntry(of: model)?.preset else {
            return .standard(inputSize: size)
        }
        if imageSize != nil, preset.cropSize != size {
            preset.resizeSize = preset.resizeSize * size / preset.cropSize
            preset.cropSize = size
        }
        return preset
    }

    /// A recognizer; says on standard error if its weights are random.
    func makeRecognizer(classes: Int? = nil, normalize: Bool = true) throws -> Recognizer {
        // An unknown model has no weights at all.
        _ = try ModelRegistry.entry(model)
        if weights == nil {
            Logger(label: "recognite.command").notice("no --weights given, \(model) has random weights")
        }
        return try withDownloadBar { store in
            try Recognizer(
                model, numClasses: classes, weights: pretrained, normalize: normalize, imageSize: imageSize,
                transformInput: transformInput, from: store)
        }
    }

    /// The model with its own classifier.
    ///
    /// - Precondition: there are weights.
    func loadClassifier() throws -> Module {
        try withDownloadBar { store in
            try Recognite.loadClassifier(
                model, weights: pretrained!, imageSize: imageSize, transformInput: transformInput, from: store)
        }
    }
}
