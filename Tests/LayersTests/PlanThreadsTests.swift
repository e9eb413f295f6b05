import Layers
import Plans
import Tensors
import Testing

/// Plans on numbers of threads, and of images, other than those that they were made for.
///
/// They are made here for a number of threads of their own: the engine's is the process's, and other tests change it.
@Suite struct PlanThreadsTests {
    private static func images(_ shape: [Int]) -> Tensor {
        var source = RandomSource(seed: 3)
        return Tensor((0..<shape.reduce(1, *)).map { _ in Float(source.normal()) }, shape: shape)
    }

    private static func plan(_ model: Module, _ shape: [Int], threads: Int) throws -> Plan {
        try #require(
            Plan(imageShape: shape, threads: threads, cache: PackedWeightCache()) { x in
                Engine.withoutPlans { model.forward(x) }
            })
    }

    private func expectAgreement(
        _ plan: Plan, _ model: Module, _ x: Tensor, _ label: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let (planned, expected) = GradientMode.disabled { (plan.run(x), Engine.withoutPlans { model(x) }) }
        let scale = expected.scalars.reduce(0) { max($0, abs($1)) }
        let worst = zip(planned.scalars, expected.scalars).reduce(0) { max($0, abs($1.0 - $1.1)) }
        #expect(worst <= 1e-4 * scale, "\(label)", sourceLocation: sourceLocation)
    }

    /// With squeeze and excitation, whose sums have one row for each thread, and with kernels that want scratch memory.
    private func convolutional() -> Module {
        final class Scaled: Module {
            @Child var depthwise: Module = Conv2d(48, 48, kernelSize: 3, padding: 1, groups: 48)
            @Child var pool: Module = AdaptiveAvgPool2d(1)
            @Child var squeeze: Module = Conv2d(48, 48, kernelSize: 1)
            @Child var project: Module = Conv2d(48, 32, kernelSize: 3, padding: 1)
            override func forward(_ x: Tensor) -> Tensor {
                let y = depthwise(x)
                return project(y * squeeze(pool(y)))
            }
        }
        let model = Scaled()
        model.eval()
        return model
    }

    @Test(arguments: [1, 2, 3, 4]) func anyNumberOfThreadsComputesTheSame(threads: Int) throws {
        let model = convolutional()
        let plan = try Self.plan(model, [19, 23, 48], threads: threads)
        for batch in [1, 2, 3, 5] {
            expectAgreement(plan, model, Self.images([batch, 19, 23, 48]), "\(threads) threads, \(batch) images")
        }
    }

    /// The engine's threads may change between the look for a plan and any of its steps.
    @Test func theEnginesThreadsMayChangeMeanwhile() throws {
        defer { Engine.setThreads(0) }
        let model = convolutional()
        for threads in [1, 2, 3] {
            let plan = try Self.plan(model, [19, 23, 48], threads: threads)
            for other in [1, 2, 7] {
                Engine.setThreads(other)
                for batch in [1, 4] {
                    expectAgreement(
                        plan, model, Self.images([batch, 19, 23, 48]),
                        "made for \(threads), run on \(other), \(batch) images")
                }
            }
        }
    }

    /// A Linear with many weights runs on the whole batch, which may be of any size.
    @Test func linearsTakeBatchesOfAnySize() throws {
        let model = Sequential(Linear(1024, 1100), ReLU(), Linear(1100, 1050))
        model.eval()
        for threads in [1, 2, 4] {
            let plan = try Self.plan(model, [1024], threads: threads)
            for batch in [1, 2, 12, 13, 64, 300] {
                expectAgreement(plan, model, Self.images([batch, 1024]), "\(threads) threads, \(batch) images")
            }
        }
    }

    /// How a value is summed depends neither on the run nor on the caller.
    @Test func runsAreIdenticalBitByBit() async throws {
        let model = convolutional()
        for threads in [1, 2, 3] {
            let plan = try Self.plan(model, [19, 23, 48], threads: threads)
            let x = Self.images([1, 19, 23, 48])
            struct Shared: @unchecked Sendable { let x: Tensor }
            let shared = Shared(x: x), expected = plan.run(x).scalars
            await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<4 {
                    group.addTask { (0..<25).allSatisfy { _ in plan.run(shared.x).scalars == expected } }
                }
                for await same in group { #expect(same, "\(threads) threads") }
            }
        }
    }
}
