import ArgumentParser
import Recognite

struct ClassifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "classify", abstract: "Name the most likely classes of pictures with a model's own classifier.",
        discussion: "Weights with 1,000 classes are taken for ImageNet's, and the categories are named.")

    @OptionGroup var modelOptions: ModelOptions

    @Option(help: ArgumentHelp("How many classes to print for each picture.", valueName: "k"))
    var top = 5

    @OptionGroup var inputOptions: InputOptions
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        guard top > 0 else { throw ValidationError("--top must be positive") }
        guard modelOptions.weights != nil else {
            throw ValidationError("classify needs --weights: random weights have no classes to name")
        }
    }

    func run() throws {
        try engine.apply {
            let model = try modelOptions.loadClassifier()
            let preset = try modelOptions.preset(inputOptions.preset, for: model)
            let runner = BatchRunner(options: inputOptions, preset: preset, modelName: modelOptions.model)
            let unreadable = try runner.run(model) { results in
                for result in results { print(lines(result)) }
            }
            if unreadable > 0 { throw ExitCode.failure }
        }
    }

    private func lines(_ result: BatchRunner.Result) -> String {
        let probabilities = result.output.softmax().scalars
        let best = probabilities.indices.sorted { (probabilities[$1], $0) < (probabilities[$0], $1) }.prefix(top)
        let names = probabilities.count == imageNetCategories.count ? imageNetCategories : nil
        return
            ([result.name]
            + best.map { index in
                let percent = "\((Double(probabilities[index]) * 1000).rounded() / 10)"
                return String(repeating: " ", count: max(2, 8 - percent.count)) + percent + " %  "
                    + (names?[index] ?? "class \(index)")
            }).joined(separator: "\n")
    }
}
