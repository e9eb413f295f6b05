import Foundation
import Recognite
import TestSupport
import Testing

/// What files, pictures and options can do to a run, which must be errors and not the end of the process.
@Suite struct TrainingInputTests {
    private func write(_ picture: RGBImage, to path: String) throws {
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(PNGEncoder.encode(picture)).write(to: URL(filePath: path))
    }

    @Test func batchesOfOneAreRefusedWhereBatchNormCannotTakeThem() throws {
        try withTemporaryFolder { folder in
            for (label, number) in [("a", 0), ("a", 1), ("b", 0), ("b", 1)] {
                try write(RGBImage(width: 40, height: 40), to: "\(folder)/data/\(label)/\(number).png")
            }
            var configuration = TrainingConfiguration()
            configuration.data = folder + "/data"
            configuration.valFold = nil
            configuration.model = "shufflenet_v2_x0_5"
            configuration.size = 32
            configuration.batchSize = 1
            configuration.ckptsPath = folder + "/run"
            #expect(throws: InputShapeError.self) { _ = try TrainingRun(configuration) }
            configuration.batchSize = 2
            _ = try TrainingRun(configuration)
        }
    }

    /// The whole of it, resized, would have 280 million pixels.
    @Test func longPicturesAreCroppedWithoutResizingAllOfThem() {
        let picture = RGBImage(width: 200_000, height: 10) { bytes in
            for index in bytes.indices { bytes[index] = UInt8(index / 3 % 251) }
        }
        var source = RandomSource(seed: 3)
        let image = TrainingTransform(size: 120)(picture, using: &source)
        #expect(image.shape == [120, 120, 3])
        #expect(Set(image.scalars).count > 4)
    }

    /// The crop of the resized picture, pixel by pixel.
    @Test func croppingFirstChangesNothing() {
        let picture = noise(width: 90, height: 50)
        var (drawn, again) = (RandomSource(seed: 8), RandomSource(seed: 8))
        let image = TrainingTransform(size: 32, normalization: .none)(picture, using: &drawn)
        let whole = picture.resized(to: .shorterEdge(32))
        let box = CropBox(randomIn: (whole.height, whole.width), height: 32, width: 32, using: &again)
        #expect(image.scalars == Tensor(whole.cropped(to: box)).scalars)
    }

    private func noise(width: Int, height: Int) -> RGBImage {
        var source = RandomSource(seed: 5)
        return RGBImage(width: width, height: height) { bytes in
            for index in bytes.indices { bytes[index] = UInt8.random(in: 0...255, using: &source) }
        }
    }

    /// The crops of the whole resized picture, bit by bit: smaller, larger, of the size itself, tall and wide.
    @Test(
        arguments: [(90, 50), (50, 90), (64, 64), (32, 32), (32, 61), (75, 32), (20, 9), (7, 40), (200, 33)],
        [32, 17])
    func evaluationCroppingFirstChangesNothing(sides: (Int, Int), size: Int) {
        let picture = noise(width: sides.0, height: sides.1)
        let whole = Tensor(picture).resizedImage(to: .shorterEdge(size))
        let one = EvaluationTransform(size: size)(picture)
        #expect(one.shape == [1, size, size, 3])
        #expect(one.scalars == Normalization.imageNet(whole.centerCroppedImage(height: size, width: size)).scalars)
        let three = EvaluationTransform(size: size, threeCrop: true)(picture)
        #expect(three.shape == [3, size, size, 3])
        #expect(three.scalars == Normalization.imageNet(whole.threeCroppedImage()).scalars)
    }

    /// The whole of it, resized, would take 12 GB as numbers.
    @Test(arguments: [(1, 20_000), (20_000, 1)])
    func longPicturesAreEvaluatedWithoutResizingAllOfThem(sides: (Int, Int)) {
        let picture = noise(width: sides.0, height: sides.1)
        let time = ContinuousClock().measure {
            for isThreeCrop in [false, true] {
                let images = EvaluationTransform(size: 224, threeCrop: isThreeCrop)(picture)
                #expect(images.shape == [isThreeCrop ? 3 : 1, 224, 224, 3])
                #expect(Set(images.scalars).count > 100)
            }
        }
        #expect(time < .seconds(3))
    }

    @Test func embeddingsThatAreNoNumbersNameTheirPicture() throws {
        try withTemporaryFolder { folder in
            try write(RGBImage(width: 20, height: 20, filledWith: SIMD3(90, 80, 70)), to: folder + "/a/0.png")
            let recognizer = try TrainerTests.makeRecognizer()
            let weight = recognizer.parameters()[0]
            weight.data = Tensor(repeating: .nan, shape: weight.shape)
            recognizer.eval()
            let loader = try ImageLoader(
                ImageTable(folder: folder), transform: EvaluationTransform(size: 16), batchSize: 4)
            let error = #expect(throws: EmbeddingError.self) { _ = try recognizer.embeddings(of: loader) }
            #expect(error?.path.hasSuffix("a/0.png") == true)
        }
    }

    @Test func checkpointsWithImpossibleProgressAreRefused() throws {
        try withTemporaryFolder { folder in
            let table = try TrainerTests.drawPictures(in: folder + "/data")
            let run = try RunFolder(folder + "/run")
            _ = try TrainerTests.makeTrainer(table, epochs: 1, folder: run).run()
            let file = try Checkpoint(contentsOf: run.checkpointPath)
            for (good, bad) in [
                ("\"batch\":0", "\"batch\":-1"), ("\"epoch\":1", "\"epoch\":-1"), ("\"step\":", "\"step\":-"),
            ] {
                var metadata = file.metadata
                let progress = try #require(metadata["progress"])
                #expect(progress.contains(good))
                metadata["progress"] = progress.replacing(good, with: bad)
                let path = folder + "/bad.safetensors"
                try file.stateDict.write(safetensorsTo: path, metadata: metadata)
                let trainer = try TrainerTests.makeTrainer(table)
                #expect(throws: TrainingError.self, "\(bad)") { try trainer.resume(from: path) }
            }
        }
    }
}
