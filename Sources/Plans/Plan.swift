import CKernels
import Synchronization
import Tensors

/// A model's computation for images of one size, ready to run on any number of them.
///
/// Each image runs through the first steps by itself: as many images at once as there are threads, each on one thread, and
/// the rest one after the other with every step shared among the threads. The last steps, whose weights are larger than what
/// they compute, run on a group of images at once, so that the weights are read once.
///
/// A plan may be run from several threads at once.
package final class Plan: Sendable {
    /// The number of threads that the steps are prepared for.
    package let threads: Int
    /// The output's shape for one image.
    private let outputShape: [Int]
    private let sizes: Execution.Sizes
    private let steps: [any Step]
    /// The number of the first step that runs on groups of images.
    private let firstGroupStep: Int
    /// Whether groups are worth it even of as many images as there are threads, each of which could run on its own.
    private let groupsFewImages: Bool
    /// Elements of the group's arena for each image.
    private let groupArenaSize: Int
    /// Elements of scratch memory that each thread needs for one image.
    private let scratchSize: Int
    /// What each step does for one image, in the order in which they run.
    private let descriptions: [StepDescription]
    /// The last steps for groups of some sizes.
    private let groups = Mutex<[Int: [GroupStep]]>([:])
    /// Memory that is not in use.
    private let memory = Mutex<[TensorStorage]>([])

    /// - Parameters:
    ///   - imageShape: the input's shape without the batch axis.
    ///   - forward: the model, as it runs on a batch.
    ///   - whenPacked: is called with weights when a step that needs them is there, so that whoever else holds them may let
    ///     go of them (``PackedWeightCache/restorable(_:)``) before the next ones are packed.
    /// - Returns: `nil` where the images of a batch depend on each other: such a model cannot be planned.
    package convenience init?(
        imageShape: [Int], threads: Int, cache: PackedWeightCache, forward: (Tensor) -> Tensor,
        whenPacked: (Tensor) -> Void = { _ in }
    ) {
        guard let graph = Graph.capture(imageShape: imageShape, forward) else { return nil }
        graph.optimize(threads: threads)
        self.init(graph, threads: threads, cache: cache, whenPacked: whenPacked)
    }

    private init(_ graph: Graph, threads: Int, cache: PackedWeightCache, whenPacked: (Tensor) -> Void) {
        self.threads = threads
        outputShape = graph.output.shape
        let (firstGroupNode, weightsPerValue) = graph.groupedNodes
        // Batches of 2 on two threads with 33 times as many weights: 1.53 times as fast as each on a thread of its own; 16
        // times: 1.11; 9 times: 0.99; 3 to 7 times: 0.97.
        groupsFewImages = weightsPerValue >= 10
        let bands = graph.bands(before: firstGroupNode, threads: threads)
        let layout = MemoryLayout(graph, firstGroupNode: firstGroupNode, bands: bands)
        var builder = StepBuilder(layout: layout, threads: threads, cache: cache)
        var firstGroupStep = 0
        for (index, node) in graph.nodes.enumerated() {
            if index == firstGroupNode { firstGroupStep = builder.steps.count }
            if let band = bands.first(where: { $0.contains(index) }) {
                if index == band.lowerBound { builder.append(Array(graph.nodes[band])) }
            } else {
                builder.append(node)
            }
            if let weights = node.releaseWeights(cache) { whenPacked(weights) }
        }
        if firstGroupNode == graph.nodes.count { firstGroupStep = builder.steps.count }
        builder.finish(graph)
        (steps, descriptions) = (builder.steps, builder.descriptions)
        self.firstGroupStep = firstGroupStep
        sizes = Execution.Sizes(
            input: graph.input.count, output: graph.output.count, arena: Self.padded(layout.arenaSize))
        groupArenaSize = layout.groupArenaSize
        scratchSize = Self.padded(steps.map(\.scratchSize).max() ?? 0)
    }

    /// The output for a batch: `[N] + imageShape` to `[N · outputs of one image, ...]`.
    package func run(_ input: Tensor) -> Tensor { run(input, times: nil) }

    private func run(_ input: Tensor, times: StepTimes?) -> Tensor {
        let batch = input.count / max(1, sizes.input)
        let output = Tensor(uninitialized: [outputShape[0] * batch] + outputShape.dropFirst())
        let images = groupSize(batch: batch)
        for first in stride(from: 0, to: batch, by: max(1, images)) {
            run(
                images: min(images, batch - first), input: input.pointer + first * sizes.input,
                output: output.mutablePointer + first * sizes.output, times: times)
        }
        withExtendedLifetime(input) {}
        return output
    }

    /// The images of a batch's first group. All groups have about the same size, without an image that is left over where that
    /// can be.
    private func groupSize(batch: Int) -> Int {
        let count = max(1, (batch + groupLimit - 1) / groupLimit)
        return count > 1 ? ((batch + count - 1) / count + threads - 1) / threads * threads : batch
    }

    /// The most images of a group: what all of them have at once should stay in the third-level cache.
    private var groupLimit: Int {
        let limit = (4 << 20) / max(1, groupArenaSize)
        return max(1, limit / threads) * threads
    }

    /// Whether each image of a group runs through all steps on a thread of its own.
    private func runsAlone(images: Int) -> Bool { images == threads && images > 1 && !groupsFewImages }

    /// Runs every step on some images.
    private func run(
        images: Int, input: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>, times: StepTimes?
    ) {
        guard runsAlone(images: images) else {
            let block = takeMemory(memorySize(images: images, threads: threads))
            defer { giveMemory(block) }
            return runGroup(
                of: images, threads: threads, memory: block.pointer, input: input, output: output, times: times)
        }
        let size = memorySize(images: 1, threads: 1)
        let block = takeMemory(size * images)
        defer { giveMemory(block) }
        parallelFor(images, grain: 1) { first, last in
            for image in first..<last {
                runGroup(
                    of: 1, threads: 1, memory: block.pointer + image * size, input: input + image * sizes.input,
                    output: output + image * sizes.output, times: times)
            }
        }
    }

    /// Runs every step on a group of images.
    private func runGroup(
        of images: Int, threads: Int, memory: UnsafeMutablePointer<Float>, input: UnsafePointer<Float>,
        output: UnsafeMutablePointer<Float>, times: StepTimes?
    ) {
        let parts = parts(images: images, threads: threads)
        let execution = Execution(
            sizes: sizes, arena: memory, groupArena: memory + parts.groupArena, input: input, output: output,
            images: images, threads: threads, scratch: memory + parts.scratch, scratchSize: parts.scratchSize)
        // For steps that need no loop, too.
        withLoopArithmetic {
            guard images > 1 else {
                for (index, step) in steps.enumerated() { timed(index, execution, times) { step.run(execution) } }
                return
            }
            execution.forEachImage { image in
                for (index, step) in steps[..<firstGroupStep].enumerated() {
                    timed(index, image, times) { step.run(image) }
                }
            }
            for (index, step) in groupSteps(images).enumerated() {
                timed(firstGroupStep + index, execution, times) { step.run(execution) }
            }
        }
    }

    private func groupSteps(_ images: Int) -> [GroupStep] {
        groups.withLock { groups in
            if let steps = groups[images] { return steps }
            // Batches have few sizes in common use.
            if groups.count >= 8 { groups.removeAll() }
            let made = steps[firstGroupStep...].map { GroupStep($0, images: images, threads: threads) }
            groups[images] = made
            return made
        }
    }

    // MARK: What the steps are, and how long they take

    private func timed(_ step: Int, _ execution: Execution, _ times: StepTimes?, _ body: () -> Void) {
        guard let times else { return body() }
        times.add(ContinuousClock().measure(body) * execution.threads / threads, to: step)
    }

    /// The median seconds of each step over some runs on a batch, in the order of ``descriptions(batch:)``. Where images run at
    /// once, each on a thread of its own, the time of one counts as its part of theirs.
    package func timedSteps(runs: Int, batch: Int) -> [Double] {
        var source = RandomSource(seed: 0)
        let image = (0..<sizes.input).map { _ in Float(source.normal()) }
        let input = Tensor((0..<batch).flatMap { _ in image }, shape: [batch, sizes.input])
        let all = (0..<max(1, runs)).map { _ in
            let times = StepTimes(count: steps.count)
            _ = run(input, times: times)
            return times.seconds
        }
        return steps.indices.map { step in all.map { $0[step] }.sorted()[all.count / 2] }
    }

    /// What each step does, in the order in which they run, with the kernels that a batch runs.
    package func descriptions(batch: Int) -> [StepDescription] {
        let images = groupSize(batch: batch)
        let groups = images > 1 && !runsAlone(images: images) ? groupSteps(images) : []
        let isSerial = images > 1 && Execution.imagesAlone(images, threads: threads) > 0
        var descriptions = descriptions
        for index in descriptions.indices {
            let group = index - firstGroupStep
            if groups.indices.contains(group), let together = groups[group].together {
                descriptions[index].kernel = together.kernel
            } else if isSerial {
                descriptions[index].kernel = steps[index].serialKernel
            }
        }
        return descriptions
    }

    // MARK: Memory

    /// Where the parts of a group's memory begin: the arenas of the images that run at once come first.
    private func parts(images: Int, threads: Int) -> (scratch: Int, scratchSize: Int, groupArena: Int, end: Int) {
        let grouped = images > 1 ? groupSteps(images).map(\.scratchSize).max() ?? 0 : 0
        let scratchSize = max(scratchSize, Self.padded(grouped))
        let scratch = (Execution.imagesAlone(images, threads: threads) > 0 ? threads : 1) * sizes.arena
        let groupArena = scratch + threads * scratchSize
        return (scratch, scratchSize, groupArena, groupArena + images * groupArenaSize)
    }

    private func memorySize(images: Int, threads: Int) -> Int { parts(images: images, threads: threads).end }

    /// A part's size, so that the next one begins on a cache line of its own.
    private static func padded(_ size: Int) -> Int { (size + 31) & ~15 }

    /// Few sizes of large blocks, so that those of plans that are gone serve others.
    private static func blockSize(_ count: Int) -> Int {
        let step = 1 << 18
        return count < step ? count : (count + step - 1) / step * step
    }

    private func takeMemory(_ count: Int) -> TensorStorage {
        memory.withLock { free in
            let fitting = free.indices.filter { free[$0].count >= count }.min { free[$0].count < free[$1].count }
            if let fitting { return free.remove(at: fitting) }
            // The new block will serve what one of the others has served.
            if let largest = free.indices.max(by: { free[$0].count < free[$1].count }) { free.remove(at: largest) }
            return nil
        } ?? TensorStorage(count: Self.blockSize(count))
    }

    private func giveMemory(_ block: TensorStorage) {
        memory.withLock { free in
            free.append(block)
            // One for each of some callers; the largest serve every batch.
            if free.count > 4 { free.remove(at: free.indices.min { free[$0].count < free[$1].count }!) }
        }
    }
}

/// What each step of a run took so far.
private final class StepTimes: Sendable {
    private let times: Mutex<[Duration]>

    init(count: Int) { times = Mutex([Duration](repeating: .zero, count: count)) }

    func add(_ time: Duration, to step: Int) { times.withLock { $0[step] += time } }

    var seconds: [Double] { times.withLock { $0.map { $0 / .seconds(1) } } }
}

extension Graph.Node {
    /// Holds a product's weights without their memory, where packed ones tell them; returns the weights then.
    fileprivate func releaseWeights(_ cache: PackedWeightCache) -> Tensor? {
        guard var product, let restorable = cache.restorable(product.weights.base) else { return nil }
        let base = product.weights.base
        product.weights.base = restorable
        kind = .product(product)
        return base
    }
}
