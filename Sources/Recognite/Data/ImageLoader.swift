import Foundation
import Imaging
import Synchronization
import Tensors

/// Reads, changes and batches a table's pictures on threads of its own, some batches ahead of whoever takes them.
///
/// What is random depends on the seed, the epoch, the sample and how often it came in the epoch before, not on the
/// threads: the same loader gives the same batches with any number of workers, from any batch of an epoch on.
public final class ImageLoader: Sendable {
    /// Pictures that go through the network together.
    public struct Batch: Sendable {
        /// `[N, H, W, 3]`; with three crops, those of each picture one after the other: `[3 N, H, W, 3]`.
        public let images: Tensor
        /// `[N]`.
        public let labels: [Int]
        /// The rows of the table, `[N]`.
        public let rows: [Int]
    }

    /// What happens to a last batch of a single sample, which batch norm cannot be trained on.
    public enum LastSample: String, Sendable, Codable {
        /// It goes with the batch before.
        case merged
        case dropped
        case kept
    }

    private enum Transform: Sendable {
        case training(TrainingTransform)
        case evaluation(EvaluationTransform)
    }

    public let table: ImageTable
    /// The label of each row.
    public let labels: [Int]
    /// How many classes there are: those of the table, times the ways in which each picture is turned and mirrored.
    public let classCount: Int
    public let batchSize: Int
    /// What was done with a last batch of one sample; `nil` if there is none.
    public let lastSample: LastSample?
    private let transform: Transform
    private let sampler: BatchSampler
    /// The ways in which each picture is turned and mirrored.
    private let orientations: [Orientation]
    private let lastSampleRule: LastSample
    private let seed: UInt64
    private let workers: Int
    private let cache: PictureCache?
    /// The class of each sample.
    private let sampleLabels: [Int]
    /// Batches of an epoch.
    public let batchCount: Int

    /// A loader for training.
    ///
    /// - Parameters:
    ///   - labelNumbers: the class of each label; `nil`: the labels in the order of their first appearance.
    ///   - quarterTurns: whether each picture comes four times, turned by 0, 90, 180 and 270 degrees, as a sample of four
    ///     classes: class c of the table is c, C + c, 2 C + c and 3 C + c.
    ///   - mirrors: whether all of these also come mirrored, as samples of further classes: from C + c on, or 4 C + c with
    ///     quarter turns.
    ///   - workers: threads that read and change pictures.
    ///   - cacheMegabytes: memory for decoded pictures, so that later epochs need not decode them again.
    /// - Throws: ``ImageLoaderError`` for a balanced sampler whose groups do not fill the batches, or an empty table.
    public convenience init(
        _ table: ImageTable, labelNumbers: [String: Int]? = nil, transform: TrainingTransform, batchSize: Int,
        sampler: BatchSampler = .shuffled, quarterTurns: Bool = false, mirrors: Bool = false,
        lastSample: LastSample = .merged, seed: UInt64, workers: Int = 2, cacheMegabytes: Int = 0
    ) throws(ImageLoaderError) {
        let upright: [Orientation] = quarterTurns ? [.up, .right, .down, .left] : [.up]
        let mirrored: [Orientation] =
            quarterTurns ? [.mirrored, .transversed, .downMirrored, .transposed] : [.mirrored]
        try self.init(
            table, labelNumbers, .training(transform), batchSize, sampler, upright + (mirrors ? mirrored : []),
            lastSample, seed, workers, cacheMegabytes)
    }

    /// A loader for evaluation: every picture once, in the table's order.
    public convenience init(
        _ table: ImageTable, labelNumbers: [String: Int]? = nil, transform: EvaluationTransform, batchSize: Int,
        workers: Int = 2, cacheMegabytes: Int = 0
    ) throws(ImageLoaderError) {
        try self.init(
            table, labelNumbers, .evaluation(transform), batchSize, .sequential, [.up], .kept, 0, workers,
            cacheMegabytes)
    }

    private init(
        _ table: ImageTable, _ numbers: [String: Int]?, _ transform: Transform, _ batchSize: Int,
        _ sampler: BatchSampler, _ orientations: [Orientation], _ lastSample: LastSample, _ seed: UInt64,
        _ workers: Int, _ cacheMegabytes: Int
    ) throws(ImageLoaderError) {
        precondition(batchSize > 0 && workers > 0, "ImageLoader: batches of \(batchSize), \(workers) workers")
        guard table.count > 0 else { throw ImageLoaderError(reason: "there are no pictures") }
        if case .classBalanced(let perClass) = sampler {
            precondition(perClass > 0, "ImageLoader: \(perClass) pictures of a class")
            guard batchSize % perClass == 0 else {
                throw ImageLoaderError(
                    reason: "batches of \(batchSize) are no multiple of \(perClass) pictures of a class")
            }
        }
        let names = table.labels
        let numbers = numbers ?? Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
        if let unknown = names.first(where: { numbers[$0] == nil }) {
            throw ImageLoaderError(reason: "the label \"\(unknown)\" has no number")
        }
        self.table = table
        labels = table.rows.map { numbers[$0.label]! }
        let classes = (numbers.values.max() ?? 0) + 1
        classCount = classes * orientations.count
        self.batchSize = batchSize
        self.transform = transform
        self.sampler = sampler
        self.orientations = orientations
        lastSampleRule = lastSample
        self.seed = seed
        self.workers = workers
        cache = cacheMegabytes > 0 ? PictureCache(limit: cacheMegabytes << 20) : nil
        let labels = labels
        sampleLabels = orientations.indices.flatMap { index in labels.map { $0 + index * classes } }
        var source = RandomSource(seed: 0)
        let plan = sampler.batches(labels: sampleLabels, batchSize: batchSize, using: &source)
        let isAlone = plan.last!.count == 1 && plan.count > 1 && lastSample != .kept
        self.lastSample = isAlone ? lastSample : nil
        batchCount = plan.count - (isAlone ? 1 : 0)
    }

    /// Samples of an epoch before the sampler adds or drops any.
    public var sampleCount: Int { sampleLabels.count }

    /// The draws of each batch of an epoch: a draw is its sample, plus ``sampleCount`` for each time that the sample
    /// has come in the epoch before, so that a sampler's repetitions are changed in other ways.
    private func plan(epoch: Int) -> [[Int]] {
        var source = random(epoch, nil)
        var batches = sampler.batches(labels: sampleLabels, batchSize: batchSize, using: &source)
        if lastSample != nil, let last = batches.popLast(), lastSampleRule == .merged {
            batches[batches.count - 1] += last
        }
        var occurrences = [Int](repeating: 0, count: sampleCount)
        return batches.map { batch in
            batch.map { sample in
                defer { occurrences[sample] += 1 }
                return sample + occurrences[sample] * sampleCount
            }
        }
    }

    /// The random numbers of a draw in an epoch, or of the epoch's order.
    private func random(_ epoch: Int, _ draw: Int?) -> RandomSource {
        var mixer = RandomSource(seed: seed ^ UInt64(epoch) &* 0x9E37_79B9_7F4A_7C15)
        let base = mixer.next()
        return RandomSource(seed: draw.map { base ^ UInt64($0 + 1) &* 0xD1B5_4A32_D192_ED03 } ?? base)
    }

    /// The batches of an epoch, from one of them on; a failure is the last element.
    public func batches(epoch: Int = 0, startingAt first: Int = 0) -> Batches {
        Batches(self, epoch, Array(plan(epoch: epoch).dropFirst(first)))
    }

    /// One batch, computed on the calling thread; `nil` if it is not wanted any more.
    fileprivate func batch(
        _ draws: [Int], epoch: Int, isStopped: () -> Bool
    ) throws(ImageLoaderError) -> Batch? {
        var images: [Tensor] = []
        for draw in draws {
            if isStopped() { return nil }
            images.append(try image(draw, epoch))
        }
        let side = images[0].shape
        let samples = draws.map { $0 % sampleCount }
        return Batch(
            images: .concatenated(images.map { $0.rank == 4 ? $0 : $0.reshaped([1] + side) }, axis: 0),
            labels: samples.map { sampleLabels[$0] }, rows: samples.map { $0 % table.count })
    }

    private func image(_ draw: Int, _ epoch: Int) throws(ImageLoaderError) -> Tensor {
        let sample = draw % sampleCount
        let row = sample % table.count
        let picture = try decoded(row).oriented(by: orientations[sample / table.count])
        switch transform {
        case .evaluation(let transform): return transform(picture)
        case .training(let transform):
            var source = random(epoch, draw)
            return transform(picture, using: &source)
        }
    }

    private func decoded(_ row: Int) throws(ImageLoaderError) -> RGBImage {
        if let known = cache?[row] { return known }
        do {
            let picture = try RGBImage(contentsOf: table.rows[row].path)
            cache?[row] = picture
            return picture
        } catch {
            let source = table.rows[row]
            let place = source.origin.map { "row \($0.row) of \($0.path), " } ?? ""
            throw ImageLoaderError(reason: "\(error) (\(place)label \"\(source.label)\")")
        }
    }

    /// The batches of one epoch, in order. Made ahead by threads that end when the epoch does, or when this is
    /// released, which waits until they have, for as long as a picture takes.
    public struct Batches: Sequence, IteratorProtocol {
        private let producer: Producer<Batch, ImageLoaderError>

        fileprivate init(_ loader: ImageLoader, _ epoch: Int, _ plan: [[Int]]) {
            producer = Producer(count: plan.count, ahead: loader.workers + 2) {
                (index, isStopped) throws(ImageLoaderError) in
                try loader.batch(plan[index], epoch: epoch, isStopped: isStopped)
            }
            producer.start(threads: Swift.min(loader.workers, plan.count))
        }

        public mutating func next() -> Result<Batch, ImageLoaderError>? { producer.next() }
    }
}

/// A table that cannot be loaded, or a picture that cannot be read.
public struct ImageLoaderError: Error, CustomStringConvertible {
    public let reason: String
    public var description: String { reason }
}

/// Decoded pictures by row, up to a number of bytes; later ones are not kept.
private final class PictureCache: Sendable {
    private struct State {
        var pictures: [Int: RGBImage] = [:]
        var bytes = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) { self.limit = limit }

    subscript(row: Int) -> RGBImage? {
        get { state.withLock { $0.pictures[row] } }
        set {
            guard let picture = newValue else { return }
            state.withLock { state in
                guard state.pictures[row] == nil, state.bytes + picture.pixels.count <= limit else { return }
                state.pictures[row] = picture
                state.bytes += picture.pixels.count
            }
        }
    }
}
