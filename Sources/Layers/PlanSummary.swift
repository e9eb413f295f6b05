import Plans
import Tensors

/// The steps that a module runs as in evaluation mode, for images of one size.
public struct PlanSummary: Sendable {
    public struct Row: Sendable {
        /// The kernel's name.
        public let kernel: String
        /// The geometry, and what is merged into the step.
        public let detail: String
        /// The shape of the output for one image, `[1, H, W, C]` or `[1, L, C]`.
        public let outputShape: [Int]
        /// Where the output begins, in elements from the beginning of the image's memory.
        public let place: String
        /// Multiply-adds for one image.
        public let multiplyAdds: Int
        /// The median time on one image, in seconds; `nil` if it was not measured.
        public let seconds: Double?
    }

    public let rows: [Row]
}

extension Module {
    /// The steps that this module runs as in evaluation mode; `nil` if it cannot be planned, or is in training mode.
    ///
    /// - Parameters:
    ///   - imageShape: the input's shape without the batch axis: `[H, W, 3]`.
    ///   - runs: how often each step is timed; 0: not at all.
    public func planSummary(imageShape: [Int], runs: Int = 0) -> PlanSummary? {
        guard let (plan, _) = plans.plan(for: self, imageShape: imageShape) else { return nil }
        let seconds: [Double?] = runs > 0 ? plan.timedSteps(runs: runs) : plan.descriptions.map { _ in nil }
        return PlanSummary(
            rows: zip(plan.descriptions, seconds).map { step, seconds in
                PlanSummary.Row(
                    kernel: step.kernel, detail: step.detail, outputShape: step.outputShape, place: step.place,
                    multiplyAdds: step.multiplyAdds, seconds: seconds)
            })
    }
}
