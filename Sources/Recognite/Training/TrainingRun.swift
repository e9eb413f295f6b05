import Layers
import Logging
import ModelZoo
import Tensors

/// A training run as a configuration describes it: data, recognizer, loss, optimizer and trainer, put together.
public struct TrainingRun {
    public let configuration: TrainingConfiguration
    public let recognizer: Recognizer
    public let trainer: Trainer
    /// The pictures to train on, and those to validate with; `nil` without validation.
    public let train: ImageTable
    public let validation: (gallery: ImageTable, query: ImageTable)?
    public let loader: ImageLoader

    /// Reads the data and makes everything that the run needs; nothing is written but the run's folder.
    ///
    /// - Parameter store: where published weights are looked for and downloaded to.
    /// - Throws: ``ConfigurationError`` for values that do not go together; the errors of the data, the weights, the model.
    public init(_ configuration: TrainingConfiguration, from store: WeightStore = WeightStore()) throws {
        self.configuration = configuration
        try configuration.check()
        (train, validation) = try configuration.tables()
        loader = try ImageLoader(
            train, transform: configuration.trainingTransform, batchSize: configuration.batchSize,
            sampler: configuration.perClass.map { .classBalanced(perClass: $0) } ?? .shuffled,
            quarterTurns: configuration.quarterTurnClasses, mirrors: configuration.mirrorClasses,
            seed: configuration.seed, workers: configuration.workers, cacheMegabytes: configuration.cacheMegabytes)
        let loss = try configuration.makeLoss()
        recognizer = try configuration.makeRecognizer(
            classes: loss.input == .embeddings ? nil : loader.classCount * loss.centersPerClass, from: store)
        // In training mode: a batch of one picture leaves some batch norms with a single value.
        let fewest = min(2, configuration.batchSize, loader.sampleCount)
        try recognizer.checkInput(shape: [fewest, configuration.size, configuration.size, 3])
        let evaluation = try configuration.makeEvaluation(validation)
        let recognizer = recognizer
        trainer = Trainer(
            recognizer, loss: loss, optimizer: configuration.makeOptimizer(recognizer),
            schedule: configuration.makeSchedule(stepsPerEpoch: configuration.stepsPerEpoch(loader)),
            loader: loader,
            settings: configuration.trainerSettings, folder: try RunFolder(configuration.ckptsPath),
            metadata: configuration.weightsMetadata,
            validate: evaluation.map { evaluation in { try evaluation.metrics($0).named } })
    }
}

/// Options of a training run that have no meaning, or none together.
public struct ConfigurationError: Error, CustomStringConvertible {
    /// The name of the option, as in ``TrainingConfiguration/names``.
    public let option: String
    public let problem: String
    public var description: String { "\(option): \(problem)" }
}

extension TrainingConfiguration {
    /// - Throws: ``ConfigurationError`` for the first value out of its range.
    func check() throws {
        func require(_ key: CodingKeys, _ holds: Bool, _ problem: @autoclosure () -> String) throws {
            if !holds { throw ConfigurationError(option: key.rawValue, problem: problem()) }
        }
        func requirePositive(_ key: CodingKeys, _ value: Int) throws {
            try require(key, value > 0, "\(value) is not positive")
        }
        func requirePart(_ key: CodingKeys, _ value: Double) throws {
            try require(key, (0...1).contains(value), "\(value) is not between 0 and 1")
        }
        for (key, value) in [
            (CodingKeys.size, size), (.epochs, epochs), (.batchSize, batchSize), (.valBatchSize, valBatchSize),
            (.workers, workers), (.accumulate, accumulate), (.numRefs, numRefs), (.numFolds, numFolds),
            (.lrStepEpochs, lrStepEpochs), (.perClass, perClass ?? 1), (.ckptSteps, ckptSteps ?? 1),
        ] { try requirePositive(key, value) }
        for (key, value) in [
            (CodingKeys.flip, flip), (.erase, erase), (.translate, translate), (.lrMinFactor, lrMinFactor),
        ] { try requirePart(key, value) }
        try require(.mirrorClasses, !mirrorClasses || flip == 0, "mirrored pictures are flipped at random as well")
        try require(.cacheMegabytes, cacheMegabytes >= 0, "\(cacheMegabytes) is negative")
        try require(.fill, (0...255).contains(fill), "\(fill) is not between 0 and 255")
        try require(.rotate, rotate >= 0, "\(rotate) is negative")
        try require(.zoom, (0..<1).contains(zoom), "\(zoom) is not between 0 and 1")
        try require(.shear, (0..<90).contains(shear), "\(shear) degrees")
        try require(.hue, (0...0.5).contains(hue), "\(hue) is not between 0 and 0.5")
        for (key, value) in [
            (CodingKeys.brightness, brightness), (.contrast, contrast), (.saturation, saturation),
            (.weightDecay, weightDecay), (.momentum, momentum), (.headLrFactor, headLrFactor),
        ] { try require(key, value >= 0 && value.isFinite, "\(value) is negative") }
        try require(.lr, lr > 0 && lr.isFinite, "\(lr) is not positive")
        try require(.lrStepFactor, lrStepFactor > 0, "\(lrStepFactor) is not positive")
        try require(.lrWarmupSteps, lrWarmupSteps >= 0, "\(lrWarmupSteps) is negative")
        try require(.clipNorm, clipNorm ?? 1 > 0, "\(clipNorm ?? 0) is not positive")
        try require(.ema, (0..<1).contains(ema ?? 0), "\(ema ?? 0) is not between 0 and 1")
        try require(.optimizer, optimizer != .nesterov || momentum > 0, "nesterov needs a momentum")
        try require(.normMean, normMean.count == 3, "\(normMean.count) values, for red, green and blue")
        try require(
            .normStd, normStd.count == 3 && normStd.allSatisfy { $0 > 0 }, "3 positive values are expected")
        for (key, bounds) in [(CodingKeys.rrcScale, rrcScale), (.rrcRatio, rrcRatio)] {
            guard let bounds else { continue }
            try require(
                key, bounds.count == 2 && bounds[0] > 0 && bounds[0] <= bounds[1], "LOW,HIGH is expected, above 0")
        }
        try require(
            .perClass, batchSize % (perClass ?? 1) == 0, "batches of \(batchSize) are no multiple of \(perClass ?? 1)")
        try require(.loadCkpt, loadCkpt == nil || weights == nil, "weights is given too")
        try require(.useThreeCrop, !useThreeCrop || valFold != nil || valData != nil, "there is no validation")
    }

    func tables() throws -> (train: ImageTable, validation: (gallery: ImageTable, query: ImageTable)?) {
        func table(_ path: String) throws -> ImageTable {
            try ImageTable(contentsOf: path, imageColumn: imageKey, labelColumn: labelKey)
        }
        let all = try table(data)
        let (train, held) =
            try valData.map { (all, try table($0)) }
            ?? all.kFoldSplit(folds: numFolds, validationFold: valFold, seed: kFoldSeed)
        guard held.count > 0 else { return (train, nil) }
        let (gallery, query, scarce) = held.galleryQuerySplit(references: numRefs, seed: galRefSeed)
        if !scarce.isEmpty {
            let shown = scarce.prefix(10).joined(separator: ", ") + (scarce.count > 10 ? ", …" : "")
            Logger(label: "recognite.data").notice(
                "\(scarce.count) labels have fewer than \(numRefs) references: \(shown)")
        }
        guard query.count > 0 else {
            throw ConfigurationError(
                option: CodingKeys.numRefs.rawValue,
                problem: "no label has more than \(numRefs) pictures: no queries are left for validation")
        }
        return (train, (gallery, query))
    }

    var normalization: Normalization {
        Normalization(
            mean: SIMD3(normMean[0], normMean[1], normMean[2]), std: SIMD3(normStd[0], normStd[1], normStd[2]))
    }

    var trainingTransform: TrainingTransform {
        func range(_ bounds: [Double]?) -> ClosedRange<Double> { bounds.map { $0[0]...$0[1] } ?? 1...1 }
        return TrainingTransform(
            size: size,
            crop: rrcScale == nil && rrcRatio == nil
                ? .square : .resized(scale: range(rrcScale), ratio: range(rrcRatio)),
            flip: flip,
            affine: AffineJitter(
                degrees: rotate, translation: translate, zoom: zoom, shear: shear, fill: UInt8(fill)),
            color: ColorJitter(
                brightness: Float(brightness), contrast: Float(contrast), saturation: Float(saturation),
                hue: Float(hue)),
            erasing: erase > 0 ? RandomErasing(probability: erase) : nil, normalization: normalization)
    }

    var evaluationTransform: EvaluationTransform {
        EvaluationTransform(size: size, threeCrop: useThreeCrop, normalization: normalization)
    }

    func makeLoss() throws -> any TrainingLoss {
        try loss.loss(
            scale: lossScale, margin: lossMargin, labelSmoothing: labelSmoothing, centers: lossCenters,
            temperature: lossTemperature)
    }

    func makeRecognizer(classes: Int?, from store: WeightStore) throws -> Recognizer {
        let entry = try ModelRegistry.entry(model)
        let recognizer = try Recognizer(
            model, numClasses: classes, weights: weights.map { PretrainedWeights($0) }, clfBias: clfBias,
            imageSize: entry.hasFixedInputSize ? size : nil, from: store)
        if let loadCkpt { try recognizer.load(.file(loadCkpt), from: store) }
        try recognizer.backbone.freeze(pathPrefixes: frozenLayers)
        if checkpointActivations { recognizer.backbone.checkpointBlocks() }
        return recognizer
    }

    func makeOptimizer(_ recognizer: Recognizer) -> Optimizer {
        let groups = parameterGroups(
            of: recognizer, learningRate: lr, weightDecay: weightDecay, headLearningRateFactor: headLrFactor,
            decaysNormsAndBiases: !noNormDecay)
        switch optimizer {
        case .sgd, .nesterov: return SGD(groups, momentum: momentum, nesterov: optimizer == .nesterov)
        case .adam: return Adam(groups)
        case .adamw: return AdamW(groups)
        }
    }

    func stepsPerEpoch(_ loader: ImageLoader) -> Int { (loader.batchCount + accumulate - 1) / accumulate }

    /// The reference's warm-up, `LinearLR(start_factor: 1 / steps, total_iters: steps)`, then the decay.
    func makeSchedule(stepsPerEpoch: Int) -> LearningRateSchedule {
        let decay: LearningRateSchedule.Decay =
            switch schedule {
            case .constant: .constant
            case .step: .step(every: lrStepEpochs * stepsPerEpoch, gamma: lrStepFactor)
            case .cosine: .cosine(minimum: lrMinFactor)
            }
        return LearningRateSchedule(
            warmUpSteps: lrWarmupSteps, startFactor: 1 / Double(max(1, lrWarmupSteps)), decay: decay)
    }

    var trainerSettings: Trainer.Settings {
        var settings = Trainer.Settings()
        settings.epochs = epochs
        settings.accumulation = accumulate
        settings.gradientNorm = clipNorm
        settings.averageDecay = ema
        settings.bestMetric = bestMetric
        settings.isLowerBetter = lowerIsBetter
        settings.savesBest = saveBest
        settings.savesLast = saveLast
        settings.checkpointInterval = ckptSteps
        return settings
    }

    /// What a weights file says of the pictures that it is for.
    var weightsMetadata: [String: String] {
        [
            "model": model, "size": "\(size)", "mean": normMean.map { "\($0)" }.joined(separator: ","),
            "std": normStd.map { "\($0)" }.joined(separator: ","),
        ]
    }
}

extension TrainingConfiguration {
    func makeEvaluation(_ tables: (gallery: ImageTable, query: ImageTable)?) throws -> RecognitionEvaluation? {
        try tables.map { tables in
            try RecognitionEvaluation(
                gallery: tables.gallery, query: tables.query, transform: evaluationTransform, batchSize: valBatchSize,
                workers: workers, cacheMegabytes: cacheMegabytes)
        }
    }
}
