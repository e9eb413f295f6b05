import Foundation
import Layers
import Testing

/// The numbers are those of torch.optim.lr_scheduler: the rate of each step with a base rate of 1.
@Suite struct ScheduleTests {
    struct Case: CustomTestStringConvertible, Sendable {
        /// The schedule in PyTorch.
        let testDescription: String
        let schedule: LearningRateSchedule
        let totalSteps: Int
        let factors: [Double]
    }

    static let cases = [
        Case(
            testDescription: "LinearLR(o, 0.25, 1.0, 4)", schedule: .init(warmUpSteps: 4, startFactor: 0.25),
            totalSteps: 7, factors: [0.25, 0.4375, 0.625, 0.8125, 1, 1, 1]),
        Case(
            testDescription: "SequentialLR(o, [LinearLR(o, 0.1, 1.0, 3), CosineAnnealingLR(o, 8, 0.01)], [3])",
            schedule: .init(warmUpSteps: 3, startFactor: 0.1, decay: .cosine(minimum: 0.01)), totalSteps: 11,
            factors: [
                0.1, 0.4, 0.7, 1, 0.962320369, 0.855017857, 0.694428299, 0.505, 0.315571701, 0.154982143, 0.0476796314,
            ]),
        Case(
            testDescription: "CosineAnnealingLR(o, 6)", schedule: .init(decay: .cosine(minimum: 0)), totalSteps: 6,
            factors: [1, 0.933012702, 0.75, 0.5, 0.25, 0.0669872981]),
        Case(
            testDescription: "SequentialLR(o, [LinearLR(o, 1/3, 1.0, 2), StepLR(o, 3, 0.5)], [2])",
            schedule: .init(warmUpSteps: 2, decay: .step(every: 3, gamma: 0.5)), totalSteps: 11,
            factors: [0.333333333, 0.666666667, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
        Case(
            testDescription: "MultiStepLR(o, [2, 5, 5], 0.1)",
            schedule: .init(decay: .milestones([2, 5, 5], gamma: 0.1)), totalSteps: 8,
            factors: [1, 1, 0.1, 0.1, 0.1, 0.001, 0.001, 0.001]),
    ]

    @Test(arguments: cases) func factorsAreTorchs(test: Case) {
        for (step, expected) in test.factors.enumerated() {
            let got = test.schedule.factor(step: step, totalSteps: test.totalSteps)
            #expect(abs(got - expected) < 1e-8, "step \(step): \(got), expected \(expected)")
        }
    }

    @Test func theCosineStaysAtItsMinimum() {
        let schedule = LearningRateSchedule(warmUpSteps: 2, decay: .cosine(minimum: 0.125))
        for step in [10, 11, 20] { #expect(abs(schedule.factor(step: step, totalSteps: 10) - 0.125) < 1e-12) }
        // A run that is all warm-up has no cosine to divide by.
        #expect(schedule.factor(step: 1, totalSteps: 2) < 1)
        #expect(schedule.factor(step: 2, totalSteps: 2) == 1)
    }

    @Test(arguments: cases) func schedulesAreSaved(test: Case) throws {
        let data = try JSONEncoder().encode(test.schedule)
        #expect(try JSONDecoder().decode(LearningRateSchedule.self, from: data) == test.schedule)
    }

    @Test(arguments: [
        #"{"warmUpSteps": -1, "startFactor": 0.5, "decay": {"constant": {}}}"#,
        #"{"warmUpSteps": 1, "startFactor": 0, "decay": {"constant": {}}}"#,
        #"{"warmUpSteps": 1, "startFactor": 0.5, "decay": {"step": {"every": 0, "gamma": 0.5}}}"#,
        #"{"warmUpSteps": 1, "startFactor": 0.5, "decay": {"step": {"every": 2, "gamma": -1}}}"#,
        #"{"warmUpSteps": 1, "startFactor": 0.5, "decay": {"cosine": {"minimum": 1.5}}}"#,
    ]) func schedulesThatMakeNoSenseAreRefused(text: String) {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(LearningRateSchedule.self, from: Data(text.utf8))
        }
    }
}
