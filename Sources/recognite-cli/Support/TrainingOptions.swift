import ArgumentParser
import Recognite

/// What `recognite train` can be told; an option that is not given keeps the configuration file's value, or the default.
struct TrainingOptions: ParsableArguments {
    // MARK: Data

    @Option(
        name: [.customLong("data"), .customLong("data-csv")],
        help: ArgumentHelp(
            "A CSV with a column of pictures (relative to it) and one of labels, or a folder with a folder of pictures for "
                + "each label. Default: data.csv.", valueName: "csv|folder"))
    var data: String?
    @Option(
        name: [.customLong("image-key"), .customLong("data-image-key")],
        help: ArgumentHelp("The CSV's column of pictures. Default: image.", valueName: "name"))
    var imageKey: String?
    @Option(
        name: [.customLong("label-key"), .customLong("data-label-key")],
        help: ArgumentHelp("The CSV's column of labels. Default: label.", valueName: "name"))
    var labelKey: String?
    @Option(
        name: [.customLong("val-fold"), .customLong("k-fold-val-fold")],
        help: ArgumentHelp(
            "The fold of labels to validate on, from 0, or \"none\" to train on all. Default: 0.", valueName: "n|none"))
    var valFold: OptionalArgument<Int>?
    @Option(
        name: [.customLong("num-folds"), .customLong("k-fold-num-folds")],
        help: ArgumentHelp("Folds that the labels are divided into. Default: 5.", valueName: "n"))
    var numFolds: Int?
    @Option(help: ArgumentHelp("Seed of the division into folds. Default: 42.", valueName: "n"))
    var kFoldSeed: UInt32?
    @Option(
        name: [.customLong("num-refs"), .customLong("gal-num-refs")],
        help: ArgumentHelp("Pictures of each validation label in the gallery. Default: 1.", valueName: "n"))
    var numRefs: Int?
    @Option(
        name: [.customLong("gal-ref-seed"), .customLong("ref-seed")],
        help: ArgumentHelp("Seed of the choice of those pictures. Default: 42.", valueName: "n"))
    var galRefSeed: UInt32?
    @Option(
        help: ArgumentHelp("A CSV or folder to validate on, in place of a fold.", valueName: "csv|folder"))
    var valData: String?

    // MARK: Model

    @Option(
        name: [.customLong("model"), .customLong("model-name")],
        help: ArgumentHelp("The architecture; see `recognite models`. Default: resnet50.", valueName: "name"))
    var model: String?
    @Option(
        name: [.customLong("weights"), .customLong("model-weights")],
        help: ArgumentHelp(
            "Published weights to start from, such as DEFAULT, or a checkpoint; the classifier starts anew. Default: "
                + "random weights.", valueName: "name|file"))
    var weights: String?
    @Option(help: ArgumentHelp("A recognizer's weights to start from, with its classifier.", valueName: "file"))
    var loadCkpt: String?
    @Flag(inversion: .prefixedNo, help: "Give the classifier a bias. Default: no.")
    var clfBias: Bool?
    @Option(
        help: ArgumentHelp(
            "Parts of the backbone that are not trained, such as conv1,bn1,layer1.", valueName: "path,path"))
    var frozenLayers: ListArgument<String>?

    // MARK: Pictures

    @Option(
        name: [.customLong("size"), .customLong("square-size")],
        help: ArgumentHelp("The side of the network's input. Default: 224.", valueName: "pixels"))
    var size: Int?
    @Option(
        help: ArgumentHelp(
            "Random resized crops of so much of the picture's area. Without it and --rrc-ratio: random square crops of the "
                + "picture whose shorter side was resized to --size.", valueName: "low,high"))
    var rrcScale: ListArgument<Double>?
    @Option(help: ArgumentHelp("Bounds of the ratio of random resized crops.", valueName: "low,high"))
    var rrcRatio: ListArgument<Double>?
    @Option(help: ArgumentHelp("Mean of red, green and blue. Default: ImageNet's.", valueName: "r,g,b"))
    var normMean: ListArgument<Float>?
    @Option(help: ArgumentHelp("Deviation of red, green and blue. Default: ImageNet's.", valueName: "r,g,b"))
    var normStd: ListArgument<Float>?
    @Flag(inversion: .prefixedNo, help: "Validate on three crops of each picture. Default: no.")
    var useThreeCrop: Bool?
    @Option(help: ArgumentHelp("Probability of a horizontal flip. Default: 0.", valueName: "p"))
    var flip: Double?
    @Option(help: ArgumentHelp("Random rotations up to so many degrees. Default: 0.", valueName: "degrees"))
    var rotate: Double?
    @Option(help: ArgumentHelp("Random translations up to so much of the side. Default: 0.", valueName: "part"))
    var translate: Double?
    @Option(help: ArgumentHelp("Random scales between 1 - x and 1 + x. Default: 0.", valueName: "x"))
    var zoom: Double?
    @Option(help: ArgumentHelp("Random shears up to so many degrees. Default: 0.", valueName: "degrees"))
    var shear: Double?
    @Option(help: ArgumentHelp("The gray around a rotated picture, 0 to 255. Default: 0.", valueName: "gray"))
    var fill: Int?
    @Option(help: ArgumentHelp("Strength of random brightness. Default: 0.", valueName: "x"))
    var brightness: Double?
    @Option(help: ArgumentHelp("Strength of random contrast. Default: 0.", valueName: "x"))
    var contrast: Double?
    @Option(help: ArgumentHelp("Strength of random saturation. Default: 0.", valueName: "x"))
    var saturation: Double?
    @Option(help: ArgumentHelp("Strength of random hue, up to 0.5. Default: 0.", valueName: "x"))
    var hue: Double?
    @Option(help: ArgumentHelp("Probability that a random rectangle is erased. Default: 0.", valueName: "p"))
    var erase: Double?
    @Flag(inversion: .prefixedNo, help: "Make pictures turned by 90, 180 and 270 degrees further classes. Default: no.")
    var quarterTurnClasses: Bool?
    @Flag(inversion: .prefixedNo, help: "Make mirrored pictures further classes. Default: no.")
    var mirrorClasses: Bool?

    // MARK: Loss

    @Option(help: ArgumentHelp("The loss. Default: cross_entropy, on cosines as the reference has it."))
    var loss: LossName?
    @Option(help: ArgumentHelp("Label smoothing. Default: 0.", valueName: "x"))
    var labelSmoothing: Float?
    @Option(help: ArgumentHelp("What the loss multiplies cosines with. Default: the loss's own.", valueName: "x"))
    var lossScale: Float?
    @Option(help: ArgumentHelp("The loss's margin. Default: the loss's own.", valueName: "x"))
    var lossMargin: Float?
    @Option(help: ArgumentHelp("Centers of each class, for subcenter_arcface. Default: 3.", valueName: "n"))
    var lossCenters: Int?
    @Option(help: ArgumentHelp("Temperature, for supcon. Default: 0.1.", valueName: "x"))
    var lossTemperature: Float?

    // MARK: Optimizer

    @Option(help: ArgumentHelp("The optimizer. Default: sgd."))
    var optimizer: TrainingConfiguration.OptimizerName?
    @Option(help: ArgumentHelp("Learning rate. Default: 0.01.", valueName: "x"))
    var lr: Double?
    @Option(help: ArgumentHelp("Momentum of sgd and nesterov. Default: 0.95.", valueName: "x"))
    var momentum: Double?
    @Option(help: ArgumentHelp("Weight decay. Default: 1e-5.", valueName: "x"))
    var weightDecay: Double?
    @Option(help: ArgumentHelp("The classifier's learning rate over the backbone's. Default: 1.", valueName: "x"))
    var headLrFactor: Double?
    @Flag(inversion: .prefixedNo, help: "Leave norms and biases without weight decay. Default: no.")
    var noNormDecay: Bool?
    @Option(help: ArgumentHelp("How the learning rate falls. Default: constant."))
    var schedule: TrainingConfiguration.ScheduleName?
    @Option(help: ArgumentHelp("Steps over which the learning rate rises at first. Default: 1.", valueName: "n"))
    var lrWarmupSteps: Int?
    @Option(help: ArgumentHelp("For --schedule step: epochs between steps. Default: 30.", valueName: "n"))
    var lrStepEpochs: Int?
    @Option(help: ArgumentHelp("For --schedule step: the factor of a step. Default: 0.1.", valueName: "x"))
    var lrStepFactor: Double?
    @Option(help: ArgumentHelp("For --schedule cosine: the last rate over the first. Default: 0.", valueName: "x"))
    var lrMinFactor: Double?
    @Option(help: ArgumentHelp("Largest norm of all gradients together. Default: no limit.", valueName: "x"))
    var clipNorm: Double?
    @Option(help: ArgumentHelp("Batches whose gradients make one step. Default: 1.", valueName: "n"))
    var accumulate: Int?
    @Option(
        help: ArgumentHelp(
            "Decay of a moving average of the weights, such as 0.999, which is validated and saved. Default: none.",
            valueName: "x"))
    var ema: Double?
    @Flag(
        inversion: .prefixedNo,
        help: "Compute the network's blocks once more on the way back, to save memory. Default: no.")
    var checkpointActivations: Bool?

    // MARK: Run

    @Option(
        name: [.customLong("epochs"), .customLong("num-epochs")],
        help: ArgumentHelp("Epochs to train. Default: 50.", valueName: "n"))
    var epochs: Int?
    @Option(help: ArgumentHelp("Pictures of a batch. Default: 32.", valueName: "n"))
    var batchSize: Int?
    @Option(help: ArgumentHelp("Pictures of a batch in validation. Default: 32.", valueName: "n"))
    var valBatchSize: Int?
    @Option(
        help: ArgumentHelp(
            "So many pictures of a class come together in a batch, for losses that compare pictures. Default: batches are "
                + "drawn from all pictures alike.", valueName: "n"))
    var perClass: Int?
    @Option(
        name: [.customLong("workers"), .customLong("num-workers")],
        help: ArgumentHelp("Threads that read and change pictures. Default: 2.", valueName: "n"))
    var workers: Int?
    @Option(help: ArgumentHelp("Memory for decoded pictures, in megabytes. Default: 512.", valueName: "n"))
    var cacheMegabytes: Int?
    @Option(help: ArgumentHelp("The folder for checkpoints and logs. Default: ./ckpts.", valueName: "folder"))
    var ckptsPath: String?
    @Flag(inversion: .prefixedNo, help: "Keep the best weights. Default: yes.")
    var saveBest: Bool?
    @Flag(inversion: .prefixedNo, help: "Keep the last weights. Default: yes.")
    var saveLast: Bool?
    @Option(help: ArgumentHelp("The metric that decides which weights are best. Default: mAP.", valueName: "name"))
    var bestMetric: String?
    @Flag(inversion: .prefixedNo, help: "That metric is better when it is lower. Default: no.")
    var lowerIsBetter: Bool?
    @Option(help: ArgumentHelp("Steps between checkpoints within an epoch. Default: at its end alone.", valueName: "n"))
    var ckptSteps: Int?

    // MARK: The reference's options that have no meaning here

    @Option(help: ArgumentHelp("Only \"cpu\".", visibility: .hidden))
    var device: String?
    @Option(help: ArgumentHelp("Weights & Biases entity.", visibility: .hidden))
    var wandbEntity: String?
    @Option(help: ArgumentHelp("Weights & Biases project.", visibility: .hidden))
    var wandbProject: String?

    func validate() throws {
        if let device, device != "cpu" {
            throw ValidationError("--device \(device): this package computes on the CPU")
        }
        if wandbEntity != nil || wandbProject != nil {
            throw ValidationError(
                "--wandb-entity, --wandb-project: nothing is sent to Weights & Biases; the run's folder has log.jsonl, "
                    + "metrics.csv and TensorBoard's event files")
        }
    }

    /// The configuration with what was given here in place.
    func applied(to base: TrainingConfiguration) -> TrainingConfiguration {
        var result = base
        func set<T>(_ path: WritableKeyPath<TrainingConfiguration, T>, _ value: T?) {
            if let value { result[keyPath: path] = value }
        }
        func set<T>(_ path: WritableKeyPath<TrainingConfiguration, T?>, optional value: T?) {
            if let value { result[keyPath: path] = value }
        }
        set(\.data, data)
        set(\.imageKey, imageKey)
        set(\.labelKey, labelKey)
        if let valFold { result.valFold = valFold.value }
        set(\.numFolds, numFolds)
        set(\.kFoldSeed, kFoldSeed)
        set(\.numRefs, numRefs)
        set(\.galRefSeed, galRefSeed)
        set(\.valData, optional: valData)
        set(\.model, model)
        set(\.weights, optional: weights)
        set(\.loadCkpt, optional: loadCkpt)
        set(\.clfBias, clfBias)
        set(\.frozenLayers, frozenLayers?.values)
        set(\.size, size)
        set(\.rrcScale, optional: rrcScale?.values)
        set(\.rrcRatio, optional: rrcRatio?.values)
        set(\.normMean, normMean?.values)
        set(\.normStd, normStd?.values)
        set(\.useThreeCrop, useThreeCrop)
        set(\.flip, flip)
        set(\.rotate, rotate)
        set(\.translate, translate)
        set(\.zoom, zoom)
        set(\.shear, shear)
        set(\.fill, fill)
        set(\.brightness, brightness)
        set(\.contrast, contrast)
        set(\.saturation, saturation)
        set(\.hue, hue)
        set(\.erase, erase)
        set(\.quarterTurnClasses, quarterTurnClasses)
        set(\.mirrorClasses, mirrorClasses)
        set(\.loss, loss)
        set(\.labelSmoothing, labelSmoothing)
        set(\.lossScale, optional: lossScale)
        set(\.lossMargin, optional: lossMargin)
        set(\.lossCenters, optional: lossCenters)
        set(\.lossTemperature, optional: lossTemperature)
        set(\.optimizer, optimizer)
        set(\.lr, lr)
        set(\.momentum, momentum)
        set(\.weightDecay, weightDecay)
        set(\.headLrFactor, headLrFactor)
        set(\.noNormDecay, noNormDecay)
        set(\.schedule, schedule)
        set(\.lrWarmupSteps, lrWarmupSteps)
        set(\.lrStepEpochs, lrStepEpochs)
        set(\.lrStepFactor, lrStepFactor)
        set(\.lrMinFactor, lrMinFactor)
        set(\.clipNorm, optional: clipNorm)
        set(\.accumulate, accumulate)
        set(\.ema, optional: ema)
        set(\.checkpointActivations, checkpointActivations)
        set(\.epochs, epochs)
        set(\.batchSize, batchSize)
        set(\.valBatchSize, valBatchSize)
        set(\.perClass, optional: perClass)
        set(\.workers, workers)
        set(\.cacheMegabytes, cacheMegabytes)
        set(\.ckptsPath, ckptsPath)
        set(\.saveBest, saveBest)
        set(\.saveLast, saveLast)
        set(\.bestMetric, bestMetric)
        set(\.lowerIsBetter, lowerIsBetter)
        set(\.ckptSteps, optional: ckptSteps)
        return result
    }
}

extension LossName: ExpressibleByArgument {}
extension TrainingConfiguration.OptimizerName: ExpressibleByArgument {}
extension TrainingConfiguration.ScheduleName: ExpressibleByArgument {}

/// Values with commas between them.
struct ListArgument<Value: LosslessStringConvertible>: ExpressibleByArgument {
    let values: [Value]

    init?(argument: String) {
        let parts = argument.split(separator: ",").map { $0.drop { $0 == " " } }
        let values = parts.compactMap { Value(String($0)) }
        guard values.count == parts.count else { return nil }
        self.values = values
    }
}

/// A value, or "none".
struct OptionalArgument<Value: LosslessStringConvertible>: ExpressibleByArgument {
    let value: Value?

    init?(argument: String) {
        if argument.lowercased() == "none" {
            value = nil
        } else if let value = Value(argument) {
            self.value = value
        } else {
            return nil
        }
    }
}
