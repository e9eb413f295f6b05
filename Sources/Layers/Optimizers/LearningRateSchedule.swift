#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The learning rate over a training run, as a factor on the rate that was set: a linear warm-up, then a decay. A
/// function of the step alone, so that a resumed run needs no state of it.
///
/// As PyTorch's `SequentialLR` of `LinearLR` and another schedule, with the warm-up's end as its milestone.
public struct LearningRateSchedule: Sendable, Hashable {
    /// What comes behind the warm-up; its steps are counted from there.
    public enum Decay: Sendable, Codable, Hashable {
        case constant
        /// Times `gamma` after every so many steps: `StepLR`.
        case step(every: Int, gamma: Double)
        /// Times `gamma` at each of these steps: `MultiStepLR`.
        case milestones([Int], gamma: Double)
        /// Along half a cosine from 1 to `minimum` at the run's end: `CosineAnnealingLR`, arXiv 1608.03983.
        case cosine(minimum: Double)
    }

    /// The number of steps until the factor is 1.
    public let warmUpSteps: Int
    /// The factor of the first step, where there is a warm-up.
    public let startFactor: Double
    public let decay: Decay

    /// - Precondition: ``problem(warmUpSteps:startFactor:decay:)`` finds none.
    public init(warmUpSteps: Int = 0, startFactor: Double = 1.0 / 3, decay: Decay = .constant) {
        let problem = Self.problem(warmUpSteps: warmUpSteps, startFactor: startFactor, decay: decay)
        precondition(problem == nil, "LearningRateSchedule: \(problem!)")
        self.warmUpSteps = warmUpSteps
        self.startFactor = startFactor
        self.decay = decay
    }

    /// What is wrong with these settings, for messages; `nil` if nothing is.
    public static func problem(warmUpSteps: Int, startFactor: Double, decay: Decay) -> String? {
        if warmUpSteps < 0 { return "a warm-up of \(warmUpSteps) steps" }
        if !(startFactor > 0 && startFactor <= 1) { return "a start factor of \(startFactor), not in (0, 1]" }
        switch decay {
        case .constant: return nil
        case .step(let every, let gamma):
            if every < 1 { return "a decay every \(every) steps" }
            return isFactor(gamma) ? nil : "a decay by \(gamma)"
        case .milestones(let steps, let gamma):
            if let step = steps.first(where: { $0 < 0 }) { return "a milestone at step \(step)" }
            return isFactor(gamma) ? nil : "a decay by \(gamma)"
        case .cosine(let minimum):
            return 0...1 ~= minimum ? nil : "a cosine down to \(minimum), not in [0, 1]"
        }
    }

    private static func isFactor(_ gamma: Double) -> Bool { gamma > 0 && gamma.isFinite }

    /// The factor for a step.
    ///
    /// - Parameters:
    ///   - step: the number of steps that were made before it.
    ///   - totalSteps: the steps of the whole run, for ``Decay/cosine(minimum:)``: the step after the last would have
    ///     the minimum.
    public func factor(step: Int, totalSteps: Int) -> Double {
        precondition(step >= 0, "LearningRateSchedule: step \(step)")
        if step < warmUpSteps {
            return startFactor + (1 - startFactor) * Double(step) / Double(warmUpSteps)
        }
        let passed = step - warmUpSteps
        switch decay {
        case .constant: return 1
        case .step(let every, let gamma): return pow(gamma, Double(passed / every))
        case .milestones(let steps, let gamma): return pow(gamma, Double(steps.count(where: { $0 <= passed })))
        case .cosine(let minimum):
            let part = min(1, Double(passed) / Double(max(1, totalSteps - warmUpSteps)))
            return minimum + (1 - minimum) * (1 + cos(.pi * part)) / 2
        }
    }
}

extension LearningRateSchedule: Codable {
    private enum CodingKeys: String, CodingKey { case warmUpSteps, startFactor, decay }

    /// - Throws: `DecodingError` also for values that make no schedule.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        warmUpSteps = try values.decode(Int.self, forKey: .warmUpSteps)
        startFactor = try values.decode(Double.self, forKey: .startFactor)
        decay = try values.decode(Decay.self, forKey: .decay)
        if let problem = Self.problem(warmUpSteps: warmUpSteps, startFactor: startFactor, decay: decay) {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(codingPath: decoder.codingPath, debugDescription: problem))
        }
    }
}
