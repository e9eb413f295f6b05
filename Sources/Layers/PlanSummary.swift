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
        /// The median time on the batch, in seconds; `nil` if it was not measured. Where several images run at once, each on a
        /// thread of its own, this is the sum of their times over the number of threads.
        public let seconds: Double?
    }

    /// The number of images that the steps run on.
    public let batch: Int
    public let rows: [Row]
}

extension Module {
    /// The steps that this module runs as in evaluation mode; `nil` if it cannot be planned, or is in training mode.
    ///
    /// - Parameters:
    ///   - imageShape: the input's shape without the batch axis: `[H, W, 3]`.
    ///   - batch: the number of images, at least 1: on several, the last steps run at once, some with other kernels.
    ///   - runs: how often each step is timed; 0: not at all.
    public func planSummary(imageShape: [Int], batch: Int = 1, runs: Int = 0) -> PlanSummary? {
        precondition(batch > 0, "planSummary: a batch has at least one image")
        guard let (plan, _) = plans.plan(for: self, imageShape: imageShape) else { return nil }
        let descriptions = plan.descriptions(batch: batch)
        let seconds: [Double?] =
            runs > 0 ? plan.timedSteps(runs: runs, batch: batch) : descriptions.map { _ in nil }
        return PlanSummary(
            batch: batch,
            rows: zip(descriptions, seconds).map { step, seconds in
                PlanSummary.Row(
                    kernel: step.kernel, detail: step.detail, outputShape: step.outputShape, place: step.place,
                    multiplyAdds: step.multiplyAdds, seconds: seconds)
            })
    }
}
