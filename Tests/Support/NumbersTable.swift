import Foundation

/// The table in `docs/zoo.md`: how close each model is to PyTorch, as the golden tests measured it.
public enum NumbersTable {
    private static let title = """
        # How close each model is to PyTorch

        Written by `make zoo-table` from the golden tests. The largest difference to the reference numbers, over the root
        mean square of the reference tensor: of the embeddings in evaluation mode, of logits, loss and running statistics
        in training mode, and of the gradients that the golden file lists. The last column is how far PyTorch's own
        float32 is from its float64 in the worst of those gradients (root mean square; see [numbers.md](numbers.md)):
        where it is large, no float32 implementation can come closer. A dash: not in the golden file, or the gradient is
        zero.

        | model | parameters | evaluation | training | gradients | PyTorch's own gradients |
        |---|---:|---:|---:|---:|---:|
        """

    /// Writes a model's row into the table, which stays sorted by name.
    public static func update(_ path: String, with check: GoldenCheck, of golden: GoldenFile) throws {
        let training = ["logits", "loss"]
        let isGradient = { (finding: GoldenCheck.Finding) in golden.train.gradients?[finding.what] != nil }
        let largest = { (findings: [GoldenCheck.Finding]) in
            format(findings.map(\.comparison.relativeError).max())
        }
        let gradients = check.findings.filter(isGradient)
        let cells = [
            golden.model, "\(golden.parameters)", largest(check.findings.filter { $0.what.hasPrefix("eval") }),
            largest(check.findings.filter { training.contains($0.what) || $0.what.hasPrefix("running") }),
            // A zero gradient has no size to compare with: what is there is rounding.
            largest(gradients.filter { $0.conditioning < 10 }),
            format(gradients.map(\.conditioning).filter { $0 < 10 }.max()),
        ]
        let old = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        let row = "| " + cells.joined(separator: " | ") + " |"
        let rows = old.split(separator: "\n").map(String.init).filter {
            $0.hasPrefix("| ") && !$0.hasPrefix("| model ") && !$0.hasPrefix("| \(golden.model) ")
        }
        let text = ([title] + (rows + [row]).sorted()).joined(separator: "\n") + "\n"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    private static func format(_ value: Double?) -> String {
        value.map { String(format: "%.1e", $0) } ?? "–"
    }
}
