import ArgumentParser
import Foundation
import Recognite

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Print the cosines of pictures' embeddings.")

    @OptionGroup var modelOptions: ModelOptions
    @OptionGroup var inputOptions: InputOptions
    @OptionGroup var engine: EngineOptions

    @Flag(help: "Also print how long each picture took.")
    var timing = false

    func run() throws {
        try engine.apply {
            let recognizer = try modelOptions.makeRecognizer()
            recognizer.eval()
            let preset = try modelOptions.preset(inputOptions.preset, for: recognizer.backbone)
            var results: [BatchRunner.Result] = []
            var unreadable = 0
            let time = try ContinuousClock().measure {
                unreadable = try BatchRunner(options: inputOptions, preset: preset).run(recognizer) { results += $0 }
            }
            print(Self.matrix(results))
            if timing, !results.isEmpty {
                let each = time / .milliseconds(1) / Double(results.count)
                print(String(format: "\n%.1f ms per picture: decoding, resizing and the network", each))
            }
            if unreadable > 0 { throw ExitCode.failure }
        }
    }

    private static func matrix(_ results: [BatchRunner.Result]) -> String {
        let rows = results.enumerated().map { index, row in
            ["\(index + 1)  \((row.name as NSString).lastPathComponent)"]
                + results.map { column in
                    let cosine = zip(row.output.scalars, column.output.scalars).reduce(0.0) {
                        $0 + Double($1.0) * Double($1.1)
                    }
                    return String(format: "%.3f", cosine)
                }
        }
        return TextTable(header: [""] + results.indices.map { "\($0 + 1)" }, rows: rows).text
    }
}
