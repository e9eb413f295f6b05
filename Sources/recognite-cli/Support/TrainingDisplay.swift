import Foundation
import Recognite

/// A run's progress: a bar for the epoch under way on a terminal, and a line for each epoch.
struct TrainingDisplay {
    private let trainer: Trainer
    private var bar: ProgressBar
    private var hasHeader = false
    /// The mean of the last losses.
    private var loss: Double?

    init(_ trainer: Trainer) {
        self.trainer = trainer
        bar = ProgressBar(total: trainer.stepsPerEpoch, unit: "steps")
    }

    mutating func show(_ step: Trainer.Step) {
        loss = loss.map { 0.95 * $0 + 0.05 * step.loss } ?? step.loss
        let perStep = step.progress.seconds / Double(max(1, step.progress.step))
        let left = Int(perStep * Double(step.totalSteps - step.progress.step))
        let inEpoch = step.progress.step - step.progress.epoch * step.stepsPerEpoch
        bar.show(
            inEpoch,
            detail: String(
                format: "epoch %d, loss %.4f, rate %.2g, %.0f images/s, %d:%02d:%02d left", step.progress.epoch, loss!,
                step.learningRate, step.progress.imagesPerSecond, left / 3600, left / 60 % 60, left % 60))
    }

    mutating func show(_ epoch: Trainer.Epoch) {
        bar.finish()
        let names = epoch.metrics.keys.sorted()
        let shown = names.filter { Self.main.contains($0) }
        if !hasHeader {
            print(Self.row(["epoch", "loss", "images/s"] + shown + [""]))
            hasHeader = true
        }
        print(
            Self.row(
                [
                    "\(epoch.progress.epoch)", String(format: "%.4f", epoch.progress.meanLoss),
                    String(format: "%.0f", epoch.progress.imagesPerSecond),
                ] + shown.map { String(format: "%.4f", epoch.metrics[$0]!) }
                    + [epoch.isBest && !epoch.metrics.isEmpty ? "best" : ""]))
        fflush(nil)
        bar = ProgressBar(total: trainer.stepsPerEpoch, unit: "steps")
    }

    func finish() { bar.finish() }

    /// The metrics in the table; the others are in the logs.
    private static let main: Set<String> = ["accuracy", "mAP", "recall@5", "EER"]

    private static func row(_ cells: [String]) -> String {
        cells.map { String(repeating: " ", count: max(0, 10 - $0.count)) + $0 }.joined()
    }
}
