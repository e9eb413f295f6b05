import ArgumentParser
import Foundation
import Recognite

struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "List the architectures: parameters, embedding size, input size.")

    @Flag(help: "Print a JSON array.")
    var json = false

    @Flag(help: "List the published weights of each architecture, with their accuracy and preset.")
    var weights = false

    @OptionGroup var engine: EngineOptions

    private struct Row: Encodable {
        let name: String
        let parameters: Int
        let embeddingSize: Int
        let inputSize: Int

        private enum CodingKeys: String, CodingKey {
            case name, parameters
            case embeddingSize = "embedding_size"
            case inputSize = "input_size"
        }
    }

    func run() throws {
        try engine.apply {
            if weights { return try WeightsTable(WeightCatalogue.entries, store: WeightStore()).print(json: json) }
            let rows = try ModelRegistry.entries.map { entry in
                let model = try ModelRegistry.makeModel(entry.name)
                return Row(
                    name: entry.name, parameters: model.parameterCount,
                    embeddingSize: try model.ultimateClassifier().inFeatures, inputSize: entry.inputSize)
            }
            if json {
                try print(JSONText.encode(rows))
            } else {
                print(
                    TextTable(
                        header: ["model", "parameters", "embedding", "input"],
                        rows: rows.map {
                            [$0.name, "\($0.parameters)", "\($0.embeddingSize)", "\($0.inputSize) x \($0.inputSize)"]
                        }
                    ).text)
            }
        }
    }
}
