import Layers
import Tensors

/// Where a run is: all that a resumed run needs beside tensors.
public struct TrainingProgress: Codable, Sendable, Equatable {
    /// The epoch under way, from 0.
    public var epoch = 0
    /// The batches of this epoch that are behind the last step.
    public var batch = 0
    /// The optimizer's steps so far.
    public var step = 0
    /// The sum of this epoch's losses, each times its images, and the number of those images.
    var lossSum = 0.0
    var imageCount = 0
    /// Seconds of training so far, of all sittings, without validation.
    public var seconds = 0.0
    /// Those of this epoch.
    public var epochSeconds = 0.0
    /// The metric that decides which weights are the best, at its best, and the epoch that had it.
    public var best: Best?
    /// What dropout and stochastic depth draw from next.
    var random: RandomSource

    /// An epoch's value of the deciding metric.
    public struct Best: Codable, Sendable, Equatable {
        public var metric: String
        public var value: Double
        public var epoch: Int
    }

    /// The mean loss of this epoch's images so far.
    public var meanLoss: Double { imageCount == 0 ? 0 : lossSum / Double(imageCount) }

    /// This epoch's images in a second of training.
    public var imagesPerSecond: Double { Double(imageCount) / max(epochSeconds, 1e-9) }

    mutating func add(loss: Double, images: Int) {
        lossSum += loss * Double(images)
        imageCount += images
    }

    mutating func startNextEpoch() {
        epoch += 1
        batch = 0
        lossSum = 0
        imageCount = 0
        epochSeconds = 0
    }
}
