import CKernels
import Synchronization
import Tensors

/// A model's computation for images of one size, ready to run on any number of them.
///
/// Each image runs through the steps by itself: as many images at once as there are threads, each on one thread, and the
/// rest one after the other with every step shared among the threads. A Linear with many weights at the model's end runs
/// on all images at once instead, so that the weights are read once.
///
/// A plan may be run from several threads at once.
package final class Plan: Sendable {
    /// The number of threads that the steps are prepared for.
    package let threads: Int
    /// The output's shape for one image.
    private let outputShape: [Int]
    private let inputCount: Int
    private let outputCount: Int
    private let steps: [any Step]
    /// Steps on the whole batch, behind the others.
    private let batchSteps: [any BatchStep]
    private let arenaSize: Int
    private let batchArenaSize: Int
    private let scratchSize: Int
    /// What each step does, in the order in which they run.
    package let descriptions: [StepDescription]
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
        inputCount = graph.input.count
        outputCount = graph.output.count
        let split = graph.firstBatchNode
        let layout = MemoryLayout(graph, firstBatchNode: split)
        func append(_ node: Graph.Node, to builder: inout StepBuilder) {
            builder.append(node)
            if let weights = node.releaseWeights(cache) { whenPacked(weights) }
        }
        var builder = StepBuilder(layout: layout, threads: threads, cache: cache)
        for node in graph.nodes[..<split] { append(node, to: &builder) }
        if split == graph.nodes.count { builder.finish(graph) }
        steps = builder.steps
        var tail = StepBuilder(layout: layout, threads: threads, cache: cache)
        for node in graph.nodes[split...] { append(node, to: &tail) }
        if split < graph.nodes.count { tail.finish(graph) }
        batchSteps = tail.steps.map { step in
            guard let step = step as? any BatchStep else {
                preconditionFailure("Plan: \(step.kernel) does not run on a batch")
            }
            return step
        }
        descriptions = builder.descriptions + tail.descriptions
        (arenaSize, batchArenaSize) = (layout.arenaSize, layout.batchArenaSize)
        scratchSize = Self.padded(steps.map(\.scratchSize).max() ?? 0)
    }

    /// The output for a batch: `[N] + imageShape` to `[N · outputs of one image, ...]`.
    package func run(_ input: Tensor) -> Tensor {
        let batch = input.count / max(1, inputCount)
        let output = Tensor(uninitialized: [outputShape[0] * batch] + outputShape.dropFirst())
        run(batch: batch, input: input.pointer, output: output.mutablePointer, observe: nil)
        withExtendedLifetime(input) {}
        return output
    }

    /// Runs every step, and calls `observe` with the number of each and the seconds that it took.
    private func run(
        batch: Int, input: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>,
        observe: ((Int, Double) -> Void)?
    ) {
        // Whole rounds of one image on each thread; what is left is shared step by step.
        let alone = threads > 1 && observe == nil ? batch / threads * threads : 0
        let chunks = alone > 0 ? threads : 1
        // Kernels divide a batch's rows otherwise than one image's, and may need more.
        let scratchSize = batchSteps.map { Self.padded($0.scratchSize(batch: batch, threads: threads)) }
            .reduce(self.scratchSize, max)
        let perChunk = arenaSize + scratchSize
        // A shared image needs one arena, and scratch memory for every thread.
        let size = max(chunks * perChunk, arenaSize + threads * scratchSize) + batchArenaSize * batch
        let block = takeMemory(size)
        defer { giveMemory(block) }
        let batchArena = block.pointer + (size - batchArenaSize * batch)

        func execution(_ image: Int, _ arena: UnsafeMutablePointer<Float>, threads: Int) -> Execution {
            Execution(
                arena: arena, batchArena: batchArena, input: input + image * inputCount,
                output: output + image * outputCount, batch: batch, image: image, threads: threads,
                scratch: arena + arenaSize, scratchSize: scratchSize)
        }
        if alone > 0 {
            parallelFor(chunks, grain: 1) { first, last in
                for chunk in first..<last {
                    for image in alone * chunk / chunks..<alone * (chunk + 1) / chunks {
                        let execution = execution(image, block.pointer + chunk * perChunk, threads: 1)
                        for step in steps { step.run(execution) }
                    }
                }
            }
        }
        for image in alone..<batch {
            let execution = execution(image, block.pointer, threads: threads)
            for (index, step) in steps.enumerated() {
                observed(index, observe) { step.run(execution) }
            }
        }
        if !batchSteps.isEmpty {
            let execution = execution(0, block.pointer, threads: threads)
            for (index, step) in batchSteps.enumerated() {
                observed(steps.count + index, observe) { step.runOnBatch(execution) }
            }
        }
    }

    private func observed(_ step: Int, _ observe: ((Int, Double) -> Void)?, _ body: () -> Void) {
        guard let observe else { return body() }
        let time = ContinuousClock().measure(body)
        observe(step, time / .seconds(1))
    }

    /// The median seconds of each step over some runs on one image, in the order of ``descriptions``.
    package func timedSteps(runs: Int) -> [Double] {
        var source = RandomSource(seed: 0)
        let input = Tensor((0..<inputCount).map { _ in Float(source.normal()) }, shape: [inputCount])
        let output = Tensor(uninitialized: [outputCount])
        var times = [[Double]](repeating: [], count: descriptions.count)
        for _ in 0..<max(1, runs) {
            run(batch: 1, input: input.pointer, output: output.mutablePointer) { times[$0].append($1) }
        }
        return times.map { $0.sorted()[$0.count / 2] }
    }

    // MARK: Memory

    /// A part's size, so that the next one begins on a cache line of its own.
    private static func padded(_ size: Int) -> Int { (size + 31) & ~15 }

    private func takeMemory(_ count: Int) -> TensorStorage {
        memory.withLock { free in
            guard let index = free.firstIndex(where: { $0.count >= count }) else { return nil }
            return free.remove(at: index)
        } ?? TensorStorage(count: count)
    }

    private func giveMemory(_ block: TensorStorage) {
        memory.withLock { free in
            free.append(block)
            // One for each of some callers; the largest serve every batch.
            if free.count > 4 { free.remove(at: free.indices.min { free[$0].count < free[$1].count }!) }
        }
    }
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
