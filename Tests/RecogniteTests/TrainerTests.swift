import Foundation
import Recognite
import TestSupport
import Testing

/// Training of a small network on drawn pictures: resuming, stopping, logs, what is kept.
@Suite struct TrainerTests {
    /// Disks and bars of some colours: 4 labels of 6 pictures each.
    static func drawPictures(in folder: String) throws -> ImageTable {
        var source = RandomSource(seed: 11)
        for (label, colour) in [SIMD3<UInt8>(220, 40, 30), SIMD3(30, 200, 60)].enumerated() {
            for shape in 0..<2 {
                let path = "\(folder)/\(label)\(shape)"
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                for number in 0..<6 {
                    var picture = RGBImage(width: 20, height: 20)
                    let (cx, cy) = (6 + Int(source.uniform() * 8), 6 + Int(source.uniform() * 8))
                    for y in 0..<20 {
                        for x in 0..<20 {
                            let (dx, dy) = (x - cx, y - cy)
                            if shape == 0 ? dx * dx + dy * dy <= 20 : abs(dx) <= 1 { picture[x: x, y: y] = colour }
                        }
                    }
                    try Data(PNGEncoder.encode(picture)).write(to: URL(filePath: "\(path)/\(number).png"))
                }
            }
        }
        return try ImageTable(folder: folder)
    }

    /// A network with batch norm and dropout, so that running statistics and random numbers count.
    static func makeRecognizer(seed: UInt64 = 5) throws -> Recognizer {
        try withRandomSeed(seed) {
            let model = Sequential([
                Conv2d(3, 8, kernelSize: 3, stride: 2, padding: 1), BatchNorm2d(8), ReLU(), Dropout(p: 0.2),
                Conv2d(8, 16, kernelSize: 3, stride: 2, padding: 1), BatchNorm2d(16), ReLU(), AdaptiveAvgPool2d(1),
                Flatten(), Linear(16, 4),
            ])
            return try Recognizer(model: model, named: "small", numClasses: 4)
        }
    }

    static func makeTrainer(
        _ table: ImageTable, epochs: Int = 3, folder: RunFolder? = nil, learningRate: Double = 0.05,
        configure: (inout Trainer.Settings) -> Void = { _ in },
        validate: ((Recognizer) throws -> [String: Double])? = nil
    ) throws -> Trainer {
        let recognizer = try makeRecognizer()
        var settings = Trainer.Settings()
        settings.epochs = epochs
        settings.averageDecay = 0.9
        settings.gradientNorm = 5
        configure(&settings)
        let groups = [
            ParameterGroup(
                name: "all", parameters: recognizer.namedParameters(), learningRate: learningRate, weightDecay: 1e-4)
        ]
        let loader = try ImageLoader(
            table, transform: TrainingTransform(size: 16), batchSize: 5, sampler: .shuffled, seed: 3, workers: 2)
        return Trainer(
            recognizer, loss: NormalizedSoftmax(scale: 8), optimizer: SGD(groups, momentum: 0.9),
            schedule: LearningRateSchedule(warmUpSteps: 2, decay: .cosine(minimum: 0)), loader: loader,
            settings: settings, folder: folder, validate: validate)
    }

    static func state(_ module: Module) throws -> [String: [Float]] {
        try Dictionary(
            uniqueKeysWithValues: module.stateDict().map { ($0.key, try $0.entry.tensor().scalars) })
    }

    /// In the middle of an epoch, and between two.
    @Test(arguments: [2, 5, 7]) func aResumedRunEndsWithTheSameBits(stopAfter: Int) throws {
        try withTemporaryFolder { folder in
            let table = try Self.drawPictures(in: folder + "/data")
            let whole = try RunFolder(folder + "/whole"), parts = try RunFolder(folder + "/parts")
            let expected = try withRandomSeed(1) {
                let trainer = try Self.makeTrainer(table, folder: whole)
                #expect(try trainer.run() == .finished)
                return try Self.state(trainer.recognizer)
            }
            try withRandomSeed(1) {
                let trainer = try Self.makeTrainer(table, folder: parts)
                #expect(try trainer.run(shouldStop: { trainer.progress.step >= stopAfter }) == .stopped)
                #expect(trainer.progress.step == stopAfter)
            }
            // Another seed: what is drawn has to come from the checkpoint.
            let resumed = try withRandomSeed(99) {
                let trainer = try Self.makeTrainer(table, folder: parts)
                try trainer.resume(from: parts.checkpointPath)
                #expect(trainer.progress.step == stopAfter)
                #expect(try trainer.run() == .finished)
                return try Self.state(trainer.recognizer)
            }
            #expect(resumed == expected)
            for name in ["/last.safetensors", "/best.safetensors"] {
                #expect(
                    try Data(contentsOf: URL(filePath: whole.path + name))
                        == Data(contentsOf: URL(filePath: parts.path + name)), "\(name)")
            }
            let steps = try [whole, parts].map { run in
                try String(contentsOfFile: run.path + "/log.jsonl", encoding: .utf8).split(separator: "\n")
                    .filter { $0.contains("\"step\"") && !$0.contains("\"epoch\",") }
                    .map { String($0.prefix { $0 != "i" }) }.count
            }
            #expect(steps[0] == steps[1])
        }
    }

    @Test func trainingLearns() throws {
        try withTemporaryFolder { folder in
            let table = try Self.drawPictures(in: folder)
            var losses: [Double] = []
            try withRandomSeed(2) {
                let trainer = try Self.makeTrainer(table, epochs: 12)
                _ = try trainer.run(onEpoch: { losses.append($0.progress.meanLoss) })
            }
            #expect(losses.count == 12)
            #expect(losses.last! < 0.5 * losses[0])
        }
    }

    @Test func bestWeightsAreKept() throws {
        try withTemporaryFolder { folder in
            let table = try Self.drawPictures(in: folder + "/data")
            let run = try RunFolder(folder + "/run")
            // The middle epoch is the best.
            var scores = [0.2, 0.9, 0.5]
            var bests: [Bool] = []
            try withRandomSeed(3) {
                let trainer = try Self.makeTrainer(
                    table, folder: run, configure: { $0.bestMetric = "score" },
                    validate: { recognizer in
                        #expect(!recognizer.isTraining)
                        return ["score": scores.removeFirst(), "other": 1]
                    })
                _ = try trainer.run(onEpoch: { bests.append($0.isBest) })
                let best = try #require(trainer.progress.best)
                #expect(best.metric == "score" && best.value == 0.9 && best.epoch == 1)
            }
            #expect(bests == [true, true, false])
            #expect(try Checkpoint(contentsOf: run.bestPath).metadata["epoch"] == "1")
            #expect(try Checkpoint(contentsOf: run.lastPath).metadata["epoch"] == "2")
            let metrics = try String(contentsOfFile: run.path + "/metrics.csv", encoding: .utf8).split(separator: "\n")
            #expect(metrics.count == 4)
            #expect(metrics[0] == "epoch,step,loss,learning_rate,images_per_second,seconds,other,score")
            #expect(metrics[2].hasSuffix(",1.0,0.9"))
            let events = try FileManager.default.contentsOfDirectory(atPath: run.path).filter {
                $0.contains("tfevents")
            }
            #expect(events.count == 1)
            // The weights fit a recognizer of the same kind.
            try Self.makeRecognizer(seed: 8).load(stateDict: Checkpoint(contentsOf: run.bestPath).stateDict)
        }
    }

    @Test func unknownMetricIsNamed() throws {
        try withTemporaryFolder { folder in
            let table = try Self.drawPictures(in: folder)
            let trainer = try Self.makeTrainer(
                table, configure: { $0.bestMetric = "mAPP" }, validate: { _ in ["mAP": 1] })
            let error = #expect(throws: TrainingError.self) { _ = try trainer.run() }
            #expect(error.map { "\($0)" } == "unknown metric \"mAPP\"; there are: mAP")
        }
    }

    @Test func aLossThatIsNoNumberStopsTheRun() throws {
        try withTemporaryFolder { folder in
            let table = try Self.drawPictures(in: folder + "/data")
            let run = try RunFolder(folder + "/run")
            let trainer = try Self.makeTrainer(table, folder: run)
            let error = #expect(throws: TrainingError.self) {
                _ = try trainer.run(onEpoch: { _ in
                    let weight = trainer.recognizer.parameters()[0]
                    weight.data = Tensor(repeating: .nan, shape: weight.shape)
                })
            }
            let text = error.map { "\($0)" } ?? ""
            #expect(text.contains("step 5 (epoch 1)") && text.contains(run.checkpointPath), "\(text)")
            // What was written before is whole.
            let saved = try Checkpoint(contentsOf: run.lastPath).stateDict
            #expect(try saved.allSatisfy { try $0.entry.tensor().scalars.allSatisfy(\.isFinite) })
        }
    }

    @Test func accumulatedBatchesAreOneStep() throws {
        try withTemporaryFolder { folder in
            let table = try Self.drawPictures(in: folder)
            var steps: [Int] = []
            let trainer = try Self.makeTrainer(table, epochs: 1, configure: { $0.accumulation = 2 })
            _ = try trainer.run(onStep: { steps.append($0.progress.batch) })
            // 24 pictures in 5 batches.
            #expect(steps == [2, 4, 5])
            #expect(trainer.totalSteps == 3)
        }
    }

    @Test func checkpointsOfOtherRunsAreRefused() throws {
        try withTemporaryFolder { folder in
            let table = try Self.drawPictures(in: folder + "/data")
            let run = try RunFolder(folder + "/run")
            _ = try Self.makeTrainer(table, epochs: 1, folder: run).run()
            func reason(_ path: String, _ configure: @escaping (inout Trainer.Settings) -> Void = { _ in }) throws
                -> String
            {
                let trainer = try Self.makeTrainer(table, configure: configure)
                let before = try Self.state(trainer.recognizer)
                let error = #expect(throws: TrainingError.self) { try trainer.resume(from: path) }
                #expect(try Self.state(trainer.recognizer) == before)
                return error.map { "\($0)" } ?? ""
            }
            #expect(try reason(run.lastPath).contains("no training state"))
            #expect(try reason(run.checkpointPath) { $0.averageDecay = nil }.contains("moving average"))
        }
    }
}
