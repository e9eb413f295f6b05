import Layers

/// Everything that `recognite train` can be told, under the names of its options.
///
/// A run keeps its effective configuration in `config.yaml`; such a file, or a part of it, can be given to another run.
/// The names and defaults of the reference's two training scripts come first where they have one.
public struct TrainingConfiguration: Codable, Sendable, Equatable {
    // MARK: Data

    /// A CSV, or a folder with a folder for each label.
    public var data = "data.csv"
    public var imageKey = "image"
    public var labelKey = "label"
    /// The fold of labels to validate on; `nil`: train on all labels.
    public var valFold: Int? = 0
    public var numFolds = 5
    public var kFoldSeed: UInt32 = 42
    /// Pictures of each validation label in the gallery.
    public var numRefs = 1
    public var galRefSeed: UInt32 = 42
    /// A CSV or folder to validate on, in place of a fold of `data`.
    public var valData: String?

    // MARK: Model

    public var model = "resnet50"
    /// An entry of the catalogue or a file; `nil`: random weights.
    public var weights: String?
    /// A recognizer's weights to start from, with its classifier.
    public var loadCkpt: String?
    public var clfBias = false
    /// Children of the backbone, or paths in it, that are not trained.
    public var frozenLayers: [String] = []

    // MARK: Pictures

    /// The side of the network's input, in pixels.
    public var size = 224
    /// Bounds of the area and the ratio of a random resized crop; without either, a random square crop of the picture
    /// whose shorter side was resized to `size`.
    public var rrcScale: [Double]?
    public var rrcRatio: [Double]?
    public var normMean: [Float] = [0.485, 0.456, 0.406]
    public var normStd: [Float] = [0.229, 0.224, 0.225]
    /// Validate on three crops of each picture, whose embeddings are averaged.
    public var useThreeCrop = false
    /// The probability of a horizontal flip.
    public var flip = 0.0
    /// Bounds of random affine maps: degrees of rotation, translation as a part of the side, scale around 1, degrees of
    /// shear. All 0: none.
    public var rotate = 0.0
    public var translate = 0.0
    public var zoom = 0.0
    public var shear = 0.0
    /// The gray that affine maps bring in from outside, 0 to 255.
    public var fill = 0
    /// Strengths of random brightness, contrast, saturation and hue. All 0: none.
    public var brightness = 0.0
    public var contrast = 0.0
    public var saturation = 0.0
    public var hue = 0.0
    /// The probability that a random rectangle is erased.
    public var erase = 0.0
    /// Pictures turned by 90, 180 and 270 degrees are further classes.
    public var quarterTurnClasses = false
    /// Mirrored pictures are further classes, of which there are then twice as many.
    public var mirrorClasses = false

    // MARK: Loss

    public var loss = LossName.crossEntropy
    public var labelSmoothing: Float = 0
    /// Parameters of some losses; `nil`: the loss's own.
    public var lossScale: Float?
    public var lossMargin: Float?
    public var lossCenters: Int?
    public var lossTemperature: Float?

    // MARK: Optimizer

    public enum OptimizerName: String, Codable, Sendable, CaseIterable {
        case sgd, nesterov, adam, adamw
    }
    public enum ScheduleName: String, Codable, Sendable, CaseIterable {
        case constant, step, cosine
    }

    public var optimizer = OptimizerName.sgd
    public var lr = 0.01
    public var momentum = 0.95
    public var weightDecay = 1e-5
    /// The classifier's learning rate over that of the backbone.
    public var headLrFactor = 1.0
    /// Norms and biases get no weight decay.
    public var noNormDecay = false
    public var schedule = ScheduleName.constant
    public var lrWarmupSteps = 1
    /// For `step`: epochs between steps, and the factor of each.
    public var lrStepEpochs = 30
    public var lrStepFactor = 0.1
    /// For `cosine`: the last learning rate over the first.
    public var lrMinFactor = 0.0
    public var clipNorm: Double?
    public var accumulate = 1
    /// The decay of the weights' moving average; `nil`: none.
    public var ema: Double?
    /// The network's blocks keep only their inputs for the way back, and are computed once more there: less memory for
    /// about a third more time, and the same numbers.
    public var checkpointActivations = false

    // MARK: Run

    public var epochs = 50
    public var batchSize = 32
    public var valBatchSize = 32
    /// Pictures of one class that come together in a batch; `nil`: batches are drawn from all pictures alike.
    public var perClass: Int?
    public var workers = 2
    /// Decoded pictures are kept in memory up to so many megabytes.
    public var cacheMegabytes = 512
    public var seed: UInt64 = 0
    /// Where checkpoints and logs go.
    public var ckptsPath = "./ckpts"
    public var saveBest = true
    public var saveLast = true
    public var bestMetric = "mAP"
    public var lowerIsBetter = false
    /// Steps between checkpoints within an epoch; `nil`: one at the end of each epoch.
    public var ckptSteps: Int?

    public init() {}

    /// The names of all options.
    public static let names: [String] = CodingKeys.allCases.map(\.rawValue)

    enum CodingKeys: String, CodingKey, CaseIterable {
        case data, model, weights, size, rotate, translate, zoom, shear, fill, flip, brightness, contrast, saturation
        case hue, erase, loss, optimizer, lr, momentum, schedule, accumulate, ema, epochs, workers, seed
        case imageKey = "image-key"
        case labelKey = "label-key"
        case valFold = "val-fold"
        case numFolds = "num-folds"
        case kFoldSeed = "k-fold-seed"
        case numRefs = "num-refs"
        case galRefSeed = "gal-ref-seed"
        case valData = "val-data"
        case loadCkpt = "load-ckpt"
        case clfBias = "clf-bias"
        case frozenLayers = "frozen-layers"
        case rrcScale = "rrc-scale"
        case rrcRatio = "rrc-ratio"
        case normMean = "norm-mean"
        case normStd = "norm-std"
        case useThreeCrop = "use-three-crop"
        case quarterTurnClasses = "quarter-turn-classes"
        case mirrorClasses = "mirror-classes"
        case labelSmoothing = "label-smoothing"
        case lossScale = "loss-scale"
        case lossMargin = "loss-margin"
        case lossCenters = "loss-centers"
        case lossTemperature = "loss-temperature"
        case weightDecay = "weight-decay"
        case headLrFactor = "head-lr-factor"
        case noNormDecay = "no-norm-decay"
        case lrWarmupSteps = "lr-warmup-steps"
        case lrStepEpochs = "lr-step-epochs"
        case lrStepFactor = "lr-step-factor"
        case lrMinFactor = "lr-min-factor"
        case clipNorm = "clip-norm"
        case checkpointActivations = "checkpoint-activations"
        case batchSize = "batch-size"
        case valBatchSize = "val-batch-size"
        case perClass = "per-class"
        case cacheMegabytes = "cache-megabytes"
        case ckptsPath = "ckpts-path"
        case saveBest = "save-best"
        case saveLast = "save-last"
        case bestMetric = "best-metric"
        case lowerIsBetter = "lower-is-better"
        case ckptSteps = "ckpt-steps"
    }
}
