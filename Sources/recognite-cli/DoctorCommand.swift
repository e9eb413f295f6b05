import ArgumentParser
import Foundation
import Recognite

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Say what this machine computes and decodes with.")

    @OptionGroup var engine: EngineOptions

    func run() throws {
        try engine.apply {
            let level = Engine.instructionSet
            let best = Engine.supportedInstructionSet
            var rows = [
                ["processor", Self.processor],
                ["instruction set", level == best ? level : "\(level) (of \(best); RECOGNITE_ISA lowers it)"],
                ["cores", "as \(Engine.cores)"],
                ["threads", "\(Engine.threads)"],
                ["OpenBLAS", Engine.openBLASConfiguration],
                ["OpenBLAS core", Engine.openBLASCore],
            ]
            rows += ImageFormat.allCases.map { format in
                ["\(format)", "decoder \(DecoderLibrary.version(for: format))"]
            }
            rows.append(["product check", try Self.productCheck()])
            print(TextTable(header: ["", ""], rows: rows, leftColumns: [0, 1]).text.drop { $0 == "\n" || $0 == " " })
        }
    }

    private static var processor: String {
        let info = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = info.split(separator: "\n").first { $0.hasPrefix("model name") }
        let name = line?.split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) }
        return name ?? "unknown"
    }

    /// Runs a small network, so that a broken installation shows here.
    private static func productCheck() throws -> String {
        let recognizer = try Recognizer("resnet18")
        recognizer.eval()
        let embedding = GradientMode.disabled { recognizer(Tensor(repeating: 0.5, shape: [1, 64, 64, 3])) }
        let norm = embedding.norm().scalar
        return abs(norm - 1) < 1e-4 ? "ok" : "FAILED: an embedding of norm \(norm)"
    }
}
