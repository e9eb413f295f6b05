import Layers
import Tensors

/// Trains a recognizer: forward, backward and optimizer step over a loader's batches, validation after each epoch,
/// checkpoints and logs in a folder.
///
/// A run that is stopped and resumed from its checkpoint ends with the same bits as one that was not, on the same
/// machine with the same number of threads.
public final class Trainer {
    /// How long, and what is kept.
    public struct Settings: Sendable, Codable, Hashable {
        public var epochs = 50
        /// Batches whose gradients are averaged for one step.
        public var accumulation = 1
        /// The largest norm of all gradients together; `nil`: no limit.
        public var gradientNorm: Double?
        /// The decay of the weights' moving average, which is then what is validated and kept; `nil`: none.
        public var averageDecay: Double?
        /// The metric of ``validate`` that decides which weights are the best.
        public var bestMetric = "mAP"
        public var isLowerBetter = false
        /// Whether `best.safetensors` and `last.safetensors` are written.
        public var savesBest = true
        public var savesLast = true
        /// Steps between checkpoints within an epoch; `nil`: only at its end.
        public var checkpointInterval: Int?

        public init() {}
    }

    /// How a call of ``run(shouldStop:onStep:onEpoch:)`` ended.
    public enum Outcome: Sendable, Equatable {
        case finished
        /// It was asked to stop; the checkpoint, if there is a folder, is where it goes on.
        case stopped
    }

    /// A step, as it was taken.
    public struct Step: Sendable {
        public let progress: TrainingProgress
        /// Steps of the whole run, and of one epoch.
        public let totalSteps: Int
        public let stepsPerEpoch: Int
        public let loss: Double
        public let learningRate: Double
        /// The norm of all gradients before clipping; `nil` without clipping.
        public let gradientNorm: Double?
        public let imagesPerSecond: Double
    }

    /// An epoch that is over, with what validation gave.
    public struct Epoch: Sendable {
        public let progress: TrainingProgress
        public let metrics: [String: Double]
        public let isBest: Bool
    }

    public let recognizer: Recognizer
    public let settings: Settings
    public private(set) var progress: TrainingProgress
    private let loss: any TrainingLoss
    private let optimizer: Optimizer
    private let schedule: LearningRateSchedule
    private let loader: ImageLoader
    private let average: ExponentialMovingAverage?
    private let folder: RunFolder?
    private let metadata: [String: String]
    private let validate: ((Recognizer) throws -> [String: Double])?

    /// - Parameters:
    ///   - recognizer: with a classifier of as many rows as the loss wants for the loader's classes, or without, for a
    ///     loss over embeddings.
    ///   - optimizer: over the recognizer's parameters.
    ///   - schedule: multiplies the groups' learning rates.
    ///   - folder: for checkpoints and logs; `nil`: none are written.
    ///   - metadata: texts for the weights' files, beside `model`, `epoch` and `step`.
    ///   - validate: metrics of the recognizer in evaluation mode, by name, after each epoch.
    public init(
        _ recognizer: Recognizer, loss: any TrainingLoss, optimizer: Optimizer,
        schedule: LearningRateSchedule = LearningRateSchedule(), loader: ImageLoader, settings: Settings = Settings(),
        folder: RunFolder? = nil, metadata: [String: String] = [:],
        validate: ((Recognizer) throws -> [String: Double])? = nil
    ) {
        precondition(settings.epochs > 0, "Trainer: \(settings.epochs) epochs")
        precondition(settings.accumulation > 0, "Trainer: accumulation over \(settings.accumulation) batches")
        self.recognizer = recognizer
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.loader = loader
        self.settings = settings
        self.folder = folder
        self.metadata = metadata
        self.validate = validate
        average = settings.averageDecay.map { ExponentialMovingAverage(of: recognizer, decay: $0) }
        progress = TrainingProgress(random: RandomStream.current.state)
    }

    /// Steps of one epoch.
    public var stepsPerEpoch: Int { (loader.batchCount + settings.accumulation - 1) / settings.accumulation }
    /// Steps of the whole run.
    public var totalSteps: Int { settings.epochs * stepsPerEpoch }

    /// Goes back to where a checkpoint was made.
    ///
    /// - Throws: `CheckpointError`, ``TrainingError/checkpointMismatch(path:reason:)``; nothing is changed then.
    public func resume(from path: String) throws {
        let checkpoint = try TrainingCheckpoint(contentsOf: path)
        func mismatch(_ reason: String) -> TrainingError { .checkpointMismatch(path: path, reason: reason) }
        guard (checkpoint.average != nil) == (average != nil) else {
            throw mismatch(
                average == nil
                    ? "it holds a moving average of the weights" : "it holds no moving average of the weights")
        }
        guard (0...loader.batchCount).contains(checkpoint.progress.batch),
            (0...settings.epochs).contains(checkpoint.progress.epoch), checkpoint.progress.step >= 0
        else {
            throw mismatch(
                "it is at batch \(checkpoint.progress.batch) of epoch \(checkpoint.progress.epoch); this run has "
                    + "\(loader.batchCount) batches and \(settings.epochs) epochs")
        }
        // The checks of all parts come before any change.
        do {
            let (model, old) = (recognizer.stateDict(), optimizer.stateDict())
            try recognizer.load(stateDict: checkpoint.model)
            do {
                try optimizer.load(stateDict: checkpoint.optimizer)
                if let average, let state = checkpoint.average { try average.load(stateDict: state) }
            } catch {
                try recognizer.load(stateDict: model)
                try optimizer.load(stateDict: old)
                throw error
            }
        } catch {
            throw mismatch("\(error)")
        }
        progress = checkpoint.progress
        RandomStream.current.state = progress.random
    }

    /// Trains to the end, or until it is asked to stop.
    ///
    /// - Parameters:
    ///   - shouldStop: asked after each step; the run then writes its checkpoint and returns.
    ///   - onStep: called after each step.
    ///   - onEpoch: called after each epoch's validation.
    /// - Throws: ``TrainingError``; the loader's, validation's and files' errors.
    public func run(
        shouldStop: () -> Bool = { false }, onStep: (Step) -> Void = { _ in }, onEpoch: (Epoch) -> Void = { _ in }
    ) throws -> Outcome {
        let log = try folder.map { try TrainingLog(folder: $0, at: progress) }
        while progress.epoch < settings.epochs {
            if try !trainEpoch(log, shouldStop, onStep) { return .stopped }
            try finishEpoch(log, onEpoch)
            if progress.epoch < settings.epochs, shouldStop() { return .stopped }
        }
        return .finished
    }

    /// - Returns: whether the epoch's batches are all done.
    private func trainEpoch(_ log: TrainingLog?, _ shouldStop: () -> Bool, _ onStep: (Step) -> Void) throws -> Bool {
        recognizer.train()
        var group: [ImageLoader.Batch] = []
        var clock = ContinuousClock.now
        guard progress.batch < loader.batchCount else { return true }
        for batch in loader.batches(epoch: progress.epoch, startingAt: progress.batch) {
            group.append(try batch.get())
            let isLast = progress.batch + group.count == loader.batchCount
            guard group.count == settings.accumulation || isLast else { continue }
            let (loss, norm) = try takeStep(group)
            let images = group.reduce(0) { $0 + $1.labels.count }
            group = []
            let now = ContinuousClock.now
            let elapsed = (now - clock) / .seconds(1)
            clock = now
            progress.seconds += elapsed
            progress.epochSeconds += elapsed
            let step = Step(
                progress: progress, totalSteps: totalSteps, stepsPerEpoch: stepsPerEpoch, loss: loss,
                learningRate: optimizer.groups.first.map { $0.learningRate * optimizer.learningRateFactor } ?? 0,
                gradientNorm: norm, imagesPerSecond: Double(images) / max(elapsed, 1e-9))
            try log?.write(
                TrainingLog.Step(
                    epoch: progress.epoch, step: progress.step, loss: loss, learningRate: step.learningRate,
                    gradientNorm: norm, imagesPerSecond: step.imagesPerSecond))
            onStep(step)
            if shouldStop() {
                try writeCheckpoint()
                return false
            }
            if let interval = settings.checkpointInterval, progress.step % interval == 0, !isLast {
                try writeCheckpoint()
            }
        }
        return true
    }

    /// One step over some batches, which count by their images.
    private func takeStep(_ batches: [ImageLoader.Batch]) throws -> (loss: Double, norm: Double?) {
        recognizer.zeroGradients()
        let images = batches.reduce(0) { $0 + $1.labels.count }
        var sum = 0.0
        for batch in batches {
            let loss = loss(recognizer(batch.images), labels: batch.labels)
            guard loss.scalar.isFinite else {
                recognizer.zeroGradients()
                throw TrainingError.lossNotFinite(
                    loss: loss.scalar, epoch: progress.epoch, step: progress.step,
                    checkpoint: folder.flatMap { $0.hasCheckpoint ? $0.checkpointPath : nil })
            }
            let share = Float(batch.labels.count) / Float(images)
            if loss.requiresGradient { (batches.count == 1 ? loss : loss * share).backward() }
            sum += Double(loss.scalar) * Double(batch.labels.count)
        }
        let norm = settings.gradientNorm.map { clipGradientNorm(recognizer.parameters(), maximum: $0) }
        optimizer.learningRateFactor = schedule.factor(step: progress.step, totalSteps: totalSteps)
        optimizer.step()
        recognizer.zeroGradients()
        average?.update()
        progress.step += 1
        progress.batch += batches.count
        progress.add(loss: sum / Double(images), images: images)
        return (sum / Double(images), norm)
    }

    private func finishEpoch(_ log: TrainingLog?, _ onEpoch: (Epoch) -> Void) throws {
        recognizer.eval()
        var metrics: [String: Double] = [:]
        if let validate { metrics = try averaged { try validate(recognizer) } }
        var isBest = validate == nil
        if !metrics.isEmpty {
            guard let value = metrics[settings.bestMetric] else {
                throw TrainingError.unknownMetric(settings.bestMetric, known: metrics.keys.sorted())
            }
            isBest = progress.best.map { settings.isLowerBetter ? value < $0.value : value > $0.value } ?? true
            if isBest {
                progress.best = .init(metric: settings.bestMetric, value: value, epoch: progress.epoch)
            }
        }
        let finished = progress
        progress.startNextEpoch()
        if let folder {
            if isBest, settings.savesBest { try averaged { try write(to: folder.bestPath, finished) } }
            if settings.savesLast { try averaged { try write(to: folder.lastPath, finished) } }
        }
        try log?.write(
            TrainingLog.Epoch(
                epoch: finished.epoch, step: finished.step, loss: finished.meanLoss,
                learningRate: optimizer.groups.first.map { $0.learningRate * optimizer.learningRateFactor } ?? 0,
                imagesPerSecond: finished.imagesPerSecond, seconds: finished.seconds, metrics: metrics))
        try writeCheckpoint()
        onEpoch(Epoch(progress: finished, metrics: metrics, isBest: isBest))
    }

    /// Runs `body` with the averaged weights in place, if there are any.
    private func averaged<R>(_ body: () throws -> R) throws -> R {
        guard let average else { return try body() }
        return try average.withAverages(body)
    }

    private func write(to path: String, _ progress: TrainingProgress) throws {
        try recognizer.stateDict().write(
            safetensorsTo: path,
            metadata: metadata.merging(
                ["model": recognizer.modelName, "epoch": "\(progress.epoch)", "step": "\(progress.step)"]
            ) { $1 })
    }

    private func writeCheckpoint() throws {
        guard let folder else { return }
        progress.random = RandomStream.current.state
        try TrainingCheckpoint(
            progress: progress, model: recognizer.stateDict(), optimizer: optimizer.stateDict(),
            average: average?.stateDict()
        ).write(to: folder.checkpointPath)
    }
}
