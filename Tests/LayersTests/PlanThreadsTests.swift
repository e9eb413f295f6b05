import Layers
import Plans
import Tensors
import Testing

/// Plans on numbers of threads, and of images, other than those that they were made for.
///
/// They are made here for a number of threads of their own: the engine's is the process's, and other tests change it.
@Suite struct PlanThreadsTests {
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

    /// What groups of images run through together: small maps with many weights, products of each kind, residuals, scales of
    /// each image, parts of channels and of rows, and one row for each image at the end.
    private func heavy() -> Module {
        final class Heavy: Module {
            @Child var stem: Module = Conv2d(8, 128, kernelSize: 3, padding: 1)
            @Child var depthwise: Module = Conv2d(128, 128, kernelSize: 5, padding: 2, groups: 128)
            @Child var pool: Module = AdaptiveAvgPool2d(1)
            @Child var squeeze: Module = Conv2d(128, 128, kernelSize: 1)
            @Child var project: Module = Conv2d(128, 96, kernelSize: 1)
            @Child var grouped: Module = Conv2d(96, 96, kernelSize: 3, padding: 1, groups: 24)
            @Child var strided: Module = Conv2d(48, 160, kernelSize: 3, stride: 2, padding: 1)
            @Child var norm: Module = LayerNorm(160)
            @Child var expand: Module = Linear(160, 640)
            @Child var reduce: Module = Linear(640, 160)
            @Child var last: Module = Linear(160, 300)
            @Child var relu: Module = ReLU()
            @Child var gelu: Module = GELU()
            override func forward(_ x: Tensor) -> Tensor {
                var y = relu(stem(x))
                y = depthwise(y)
                y = project(y * squeeze(pool(y)))
                y = relu(y + grouped(y))
                y = strided(y.sliced(axis: 3, 48..<96).sliced(axis: 1, 0..<3))
                y = y + reduce(gelu(expand(norm(y))))
                y = last(pool(y).reshaped([x.shape[0], 160]))
                return y / y.norm()
            }
        }
        let model = Heavy()
        model.eval()
        return model
    }

    #if arch(x86_64)
        /// In steps that are too small for several threads, too.
        @Test(arguments: [1, 2]) func subnormalNumbersAreZero(threads: Int) throws {
            let layer = Linear(16, 8, bias: false)
            layer.weight.data = Tensor([Float](repeating: 1e-20, count: 128), shape: [8, 16])
            let model = Model([layer]) { x, children in children[0](x) }
            let plan = try makePlan(model, [3, 16], threads: threads)
            let output = plan.run(Tensor([Float](repeating: 1e-20, count: 48), shape: [1, 3, 16]))
            #expect(output.scalars == [Float](repeating: 0, count: 24))
            let larger = plan.run(Tensor([Float](repeating: 1, count: 48), shape: [1, 3, 16]))
            #expect(larger.scalars.allSatisfy { $0 > 0 })
        }
    #endif

    @Test(arguments: [1, 2, 3]) func groupsOfImagesComputeTheSame(threads: Int) throws {
        let model = heavy()
        let plan = try makePlan(model, [4, 3, 8], threads: threads)
        // The first two are better computed image by image; what the depthwise product sums up is read behind them.
        for step in plan.descriptions(batch: 1).dropFirst(2) {
            #expect(step.place.hasPrefix("group") || step.place.hasPrefix("output"), "\(step) is not in groups")
        }
        let large = try makePlan(model, [4, 40, 8], threads: threads)
        for batch in [1, 2, 3, 4, 5, 8, 17] {
            expectAgreement(plan, model, images([batch, 4, 3, 8]), "\(threads) threads, \(batch) images")
            expectAgreement(large, model, images([batch, 4, 40, 8]), "\(threads) threads, \(batch) large images")
        }
    }

    /// Also where images run at once, each on a thread of its own: then a step's time is its part of theirs.
    @Test(arguments: [1, 2, 3, 8]) func stepsAreTimed(batch: Int) throws {
        let plan = try makePlan(heavy(), [4, 3, 8], threads: 2)
        let runs = 9
        var seconds: [Double] = []
        let elapsed = ContinuousClock().measure { seconds = plan.timedSteps(runs: runs, batch: batch) }
        #expect(plan.descriptions(batch: batch).map(\.detail) == plan.descriptions(batch: 1).map(\.detail))
        #expect(seconds.count == plan.descriptions(batch: batch).count && seconds.allSatisfy { $0 > 0 })
        // In half of the runs each step took its median or longer.
        #expect(seconds.reduce(0, +) * Double(runs) / 2 < elapsed / .seconds(1))
    }

    /// A request must not spoil those that it shares a batch with.
    @Test func imagesOfAGroupDoNotAffectEachOther() throws {
        let model = heavy()
        // So large that Strassen's products mix rows: 40 of an image where `reduce` runs.
        let plan = try makePlan(model, [4, 40, 8], threads: 2)
        let x = images([12, 4, 40, 8])
        let expected = plan.run(x).scalars
        for spoiler in [Float.nan, 1e30] {
            var scalars = x.scalars
            let size = scalars.count / 12, outputs = expected.count / 12
            for index in 2 * size..<3 * size { scalars[index] = spoiler }
            let result = plan.run(Tensor(scalars, shape: x.shape)).scalars
            for image in 0..<12 where image != 2 {
                let range = image * outputs..<(image + 1) * outputs
                #expect(Array(result[range]) == Array(expected[range]), "image \(image) beside one of \(spoiler)")
            }
        }
    }

    @Test(arguments: [1, 2, 3, 4]) func anyNumberOfThreadsComputesTheSame(threads: Int) throws {
        let model = convolutional()
        let plan = try makePlan(model, [19, 23, 48], threads: threads)
        for batch in [1, 2, 3, 5] {
            expectAgreement(plan, model, images([batch, 19, 23, 48]), "\(threads) threads, \(batch) images")
        }
    }

    /// The engine's threads may change between the look for a plan and any of its steps.
    @Test func theEnginesThreadsMayChangeMeanwhile() throws {
        defer { Engine.setThreads(0) }
        let model = convolutional()
        for threads in [1, 2, 3] {
            let plan = try makePlan(model, [19, 23, 48], threads: threads)
            for other in [1, 2, 7] {
                Engine.setThreads(other)
                for batch in [1, 4] {
                    expectAgreement(
                        plan, model, images([batch, 19, 23, 48]),
                        "made for \(threads), run on \(other), \(batch) images")
                }
            }
        }
    }

    /// Linears with many weights run on groups of images, of which the largest batch has more than one.
    @Test func linearsTakeBatchesOfAnySize() throws {
        let model = Sequential(Linear(1024, 1100), ReLU(), Linear(1100, 1050))
        model.eval()
        for threads in [1, 2, 4] {
            let plan = try makePlan(model, [1024], threads: threads)
            for batch in [1, 2, 12, 13, 64, 4000] {
                expectAgreement(plan, model, images([batch, 1024]), "\(threads) threads, \(batch) images")
            }
        }
    }

    /// How a value is summed depends neither on the run nor on the caller.
    @Test func runsAreIdenticalBitByBit() async throws {
        let model = convolutional()
        for threads in [1, 2, 3] {
            let plan = try makePlan(model, [19, 23, 48], threads: threads)
            let x = images([1, 19, 23, 48])
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
