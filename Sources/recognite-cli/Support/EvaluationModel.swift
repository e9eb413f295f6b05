import ArgumentParser
import Logging
import Recognite

/// Which recognizer is evaluated, and how pictures become its input. What is not given, the weights file tells, as
/// `recognite train` writes it.
struct EvaluationModel: ParsableArguments {
    @Option(
        name: [.customLong("model"), .customLong("model-name")],
        help: ArgumentHelp(
            "The architecture; see `recognite models`. By default that which the weights file names.",
            valueName: "name"))
    var model: String?
    @Option(
        name: [.customLong("weights"), .customLong("model-weights")],
        help: ArgumentHelp(
            "A checkpoint, of a recognizer or of a classification model; or published weights, such as DEFAULT. "
                + "Without it the weights are random.", valueName: "name|file"))
    var weights: String?
    @Option(
        name: [.customLong("size"), .customLong("square-size")],
        help: ArgumentHelp(
            "The side of the network's input. By default that which the weights file names, or 224.",
            valueName: "pixels"))
    var size: Int?
    @Option(
        help: ArgumentHelp(
            "Mean of red, green and blue. By default that which the weights file names, or ImageNet's.",
            valueName: "r,g,b"))
    var normMean: ListArgument<Float>?
    @Option(
        help: ArgumentHelp(
            "Deviation of red, green and blue. By default that which the weights file names, or ImageNet's.",
            valueName: "r,g,b"))
    var normStd: ListArgument<Float>?
    @Flag(help: "Average the embeddings of three crops of each picture.")
    var useThreeCrop = false
    @Option(
        help: ArgumentHelp(
            "What is made of the embeddings before they are compared, as `recognite describe` writes it.",
            valueName: "file.safetensors"))
    var descriptor: String?

    func validate() throws {
        if model == nil, weights == nil { throw ValidationError("--model is needed, or --weights that name it") }
        if let size, size <= 0 { throw ValidationError("--size must be positive") }
        if let normMean, normMean.values.count != 3 { throw ValidationError("--norm-mean takes three values") }
        if let normStd, normStd.values.count != 3 || normStd.values.contains(where: { !($0 > 0) }) {
            throw ValidationError("--norm-std takes three positive values")
        }
    }

    /// A recognizer in evaluation mode, and what its pictures go through.
    struct Loaded {
        let recognizer: Recognizer
        let descriptor: EmbeddingDescriptor?
        let transform: EvaluationTransform
    }

    /// Makes the recognizer; says on standard error if its weights are random.
    ///
    /// - Throws: the model's and the weights' errors; `InputError` for a weights file that names no model or whose
    ///   texts make no sense, `InputShapeError` for a size that the model cannot take.
    func load() throws -> Loaded {
        let pretrained = weights.map { PretrainedWeights($0) }
        var metadata: [String: String] = [:]
        if case .file(let path)? = pretrained { metadata = try Checkpoint(contentsOf: path).metadata }
        func malformed(_ key: String) -> InputError {
            InputError(path: weights ?? "", problem: "names the \(key) \"\(metadata[key] ?? "")\"")
        }
        guard let model = model ?? metadata["model"] else {
            throw InputError(path: weights ?? "", problem: "the weights do not name their model; give --model")
        }
        func values(_ key: String) throws -> SIMD3<Float>? {
            guard let text = metadata[key] else { return nil }
            guard let values = ListArgument<Float>(argument: text)?.values, values.count == 3 else {
                throw malformed(key)
            }
            return SIMD3<Float>(values)
        }
        let side =
            try size ?? metadata["size"].map { (text: String) throws -> Int in
                guard let side = Int(text), side > 0 else { throw malformed("size") }
                return side
            } ?? 224
        let mean = try normMean.map { SIMD3<Float>($0.values) } ?? values("mean") ?? Normalization.imageNet.mean
        let std = try normStd.map { SIMD3<Float>($0.values) } ?? values("std") ?? Normalization.imageNet.std
        guard std.min() > 0 else { throw malformed("std") }

        let isFixed = try ModelRegistry.entry(model).hasFixedInputSize
        if weights == nil {
            Logger(label: "recognite.command").notice("no --weights given, \(model) has random weights")
        }
        let recognizer = try withDownloadBar { store in
            try Recognizer(model, weights: pretrained, imageSize: isFixed ? side : nil, from: store)
        }
        let descriptor = try descriptor.map { try EmbeddingDescriptor(contentsOf: $0) }
        try descriptor?.prepare(recognizer)
        recognizer.eval()
        try recognizer.checkInput(shape: [1, side, side, 3])
        try descriptor?.checkInput(recognizer, shape: [1, side, side, 3])
        return Loaded(
            recognizer: recognizer, descriptor: descriptor,
            transform: EvaluationTransform(
                size: side, threeCrop: useThreeCrop, normalization: Normalization(mean: mean, std: std)))
    }
}
