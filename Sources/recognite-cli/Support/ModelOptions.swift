import ArgumentParser
import Recognite

/// Which network, and with which weights.
struct ModelOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The architecture; see `recognite models`.", valueName: "name"))
    var model: String

    @Option(
        help: ArgumentHelp(
            "A checkpoint: .pth, .pt or .safetensors, of the classification model or of a recognizer. "
                + "Without it the weights are random.", valueName: "file"))
    var weights: String?

    /// The preset of the model's inputs, unless the command line names one.
    func preset(_ named: PresetArgument?) throws -> ClassificationPreset {
        if let named { return named.preset }
        return ClassificationPreset.standard(inputSize: try ModelRegistry.entry(model).inputSize)
    }

    /// A recognizer; says on standard error if its weights are random.
    func makeRecognizer(classes: Int? = nil, normalize: Bool = true) throws -> Recognizer {
        if weights == nil {
            StandardError.line("note: no --weights given, \(model) has random weights")
        }
        return try Recognizer(
            model, numClasses: classes, weights: weights.map { .file($0) }, normalize: normalize)
    }
}
