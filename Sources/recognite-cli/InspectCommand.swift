import ArgumentParser
import Foundation
import Recognite

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show a model's module tree, or a weights file's tensors.")

    @Argument(help: "An architecture, or a weights file.")
    var subject: String

    @Option(help: ArgumentHelp("Show modules at most so many levels below the root.", valueName: "n"))
    var depth: Int?

    @Flag(help: "Write the module graph in Graphviz's language.")
    var dot = false

    @Flag(help: "Show the steps of the model's plan, as it runs in evaluation mode, with their times.")
    var plan = false

    @Option(help: ArgumentHelp("The side of the square input image, in pixels.", valueName: "pixels"))
    var size: Int?

    @Option(help: ArgumentHelp("With --plan: the number of images that the steps run on. (default: 1)", valueName: "n"))
    var batch: Int?

    @OptionGroup var engine: EngineOptions

    func validate() throws {
        if let depth, depth < 0 { throw ValidationError("--depth must not be negative") }
        if let size, size <= 0 { throw ValidationError("--size must be positive") }
        if let batch, !(1...1024).contains(batch) { throw ValidationError("--batch must be from 1 to 1024") }
        if plan, dot || depth != nil { throw ValidationError("--plan goes with neither --dot nor --depth") }
        if batch != nil, !plan { throw ValidationError("--batch needs --plan") }
    }

    func run() throws {
        try engine.apply {
            let isModel = supportedModels.contains(subject)
            if isModel || !FileManager.default.fileExists(atPath: subject) {
                // A name that looks like a path is a missing file, not a misspelt model.
                if !isModel, subject.contains("/") || subject.contains(".") {
                    throw InputError(path: subject, problem: "no such file")
                }
                try inspectModel()
            } else {
                try inspectFile()
            }
        }
    }

    private func inspectModel() throws {
        let entry = try ModelRegistry.entry(subject)
        let side = size ?? entry.inputSize
        try entry.check(imageSize: side)
        let model = try ModelRegistry.makeModel(subject, imageSize: side)
        model.eval()
        try model.checkInput(shape: [1, side, side, 3], named: subject)
        if dot {
            print(ModuleGraph(model, name: subject, depth: depth ?? .max).dot)
            return
        }
        if plan {
            // The embedding's plan: without the classifier.
            let recognizer = try Recognizer(model: model, named: subject)
            recognizer.eval()
            guard let summary = recognizer.planSummary(imageShape: [side, side, 3], batch: batch ?? 1, runs: 30) else {
                throw InputError(path: subject, problem: "the model has no plan")
            }
            print(PlanTable(summary: summary).text)
            return
        }
        let summary = ModuleSummary(of: model, inputShape: [1, side, side, 3])
        print(summary.table(depth: depth ?? .max))
        print("\n\(subject): \(summary.total.parameters) parameters, \(summary.total.multiplyAdds) multiply-adds")
    }

    private func inspectFile() throws {
        if depth != nil || dot || plan || size != nil {
            throw InputError(path: subject, problem: "a file: --depth, --dot, --plan and --size are for architectures")
        }
        let checkpoint = try Checkpoint(contentsOf: subject)
        print("\(subject): \(checkpoint.format.rawValue), \(checkpoint.stateDict.count) tensors")
        if let nesting = checkpoint.nesting { print("nested under: \(nesting.joined(separator: "."))") }
        let prefix = checkpoint.strippingCommonPrefix().prefix
        if !prefix.isEmpty { print("common prefix of all keys: \(prefix)") }
        if !checkpoint.otherEntries.isEmpty {
            let others = checkpoint.otherEntries.map { "\($0.name) (\($0.type))" }
            print("other entries: \(others.joined(separator: ", "))")
        }
        let elements = checkpoint.stateDict.reduce(0) { $0 + $1.entry.count }
        let rows = checkpoint.stateDict.map { key, entry in
            [key, "\(entry.dtype)", "[" + entry.shape.map(String.init).joined(separator: ", ") + "]"]
        }
        print(TextTable(header: ["key", "dtype", "shape"], rows: rows, leftColumns: [0, 1, 2]).text)
        print("\n\(elements) elements")
    }
}
