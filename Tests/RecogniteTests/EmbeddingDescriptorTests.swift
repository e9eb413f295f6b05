import Foundation
import Recognite
import TestSupport
import Testing

@Suite struct EmbeddingDescriptorTests {
    private let images = ReferenceFill.images(3, 18, 22, salt: "descriptor")

    /// A network of some layers over images of any size from 3 pixels on, with embeddings of 12 features.
    private static func makeRecognizer(
        pool: Module = AdaptiveAvgPool2d(1), normalize: Bool = true
    ) throws -> Recognizer {
        try withRandomSeed(9) {
            let model = Sequential([
                Conv2d(3, 8, kernelSize: 3, stride: 2, padding: 1), BatchNorm2d(8), ReLU(),
                Conv2d(8, 12, kernelSize: 3, padding: 1), ReLU(), pool, Flatten(), Linear(12, 4),
            ])
            let recognizer = try Recognizer(model: model, named: "small", normalize: normalize)
            recognizer.eval()
            return recognizer
        }
    }

    private func expectEqual(
        _ a: Tensor, _ b: Tensor, tolerance: Float = 1e-5, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(a.shape == b.shape, sourceLocation: sourceLocation)
        let far = zip(a.scalars, b.scalars).first { !(abs($0 - $1) <= tolerance) }
        #expect(far == nil, "\(String(describing: far))", sourceLocation: sourceLocation)
    }

    // MARK: Means

    @Test func withoutSettingsTheEmbeddingsAreTheRecognizers() throws {
        let recognizer = try Self.makeRecognizer()
        let got = try EmbeddingDescriptor().embeddings(recognizer, images)
        expectEqual(got, GradientMode.disabled { recognizer(images) }, tolerance: 1e-6)
    }

    @Test func flipIsTheMeanOfTwoCalls() throws {
        let recognizer = try Self.makeRecognizer(normalize: false)
        let descriptor = EmbeddingDescriptor(.init(flip: true, normalizes: false))
        let got = try descriptor.embeddings(recognizer, images)
        let (one, other) = GradientMode.disabled { (recognizer(images), recognizer(mirrored(images))) }
        #expect(zip(one.scalars, other.scalars).contains { abs($0 - $1) > 1e-3 })
        expectEqual(got, (one + other) * 0.5, tolerance: 1e-6)
    }

    @Test func anImageAndItsMirrorImageAreTheSameWithFlip() throws {
        let recognizer = try Self.makeRecognizer()
        let descriptor = EmbeddingDescriptor(.init(flip: true))
        let (one, other) = (
            try descriptor.embeddings(recognizer, images), try descriptor.embeddings(recognizer, mirrored(images))
        )
        expectEqual(one, other, tolerance: 1e-6)
        for norm in one.norm().scalars { #expect(abs(norm - 1) < 1e-5) }
    }

    @Test func scalesAreTheMeanOfCallsOnResizedImages() throws {
        let recognizer = try Self.makeRecognizer()
        let descriptor = EmbeddingDescriptor(.init(scales: [0.5, 1, 1.4], normalizes: false))
        let got = try descriptor.embeddings(recognizer, images)
        let parts = GradientMode.disabled {
            // 18 x 22 pixels times the scales, rounded.
            [(9, 11), (18, 22), (25, 31)].map { height, width in
                Tensor.concatenated(
                    (0..<3).map { index in
                        let image = images.sliced(axis: 0, index..<index + 1).reshaped([18, 22, 3])
                        let resized = image.resizedImage(to: .exact(height: height, width: width))
                        return recognizer(resized.reshaped([1, height, width, 3]))
                    }, axis: 0)
            }
        }
        expectEqual(got, (parts[0] + parts[1] + parts[2]) * (1 / 3))
    }

    private func mirrored(_ images: Tensor) -> Tensor {
        let (width, scalars) = (images.shape[2], images.scalars)
        let result = scalars.indices.map { index in
            let (pixel, channel) = (index / 3, index % 3)
            let (row, x) = (pixel / width, pixel % width)
            return scalars[(row * width + width - 1 - x) * 3 + channel]
        }
        return Tensor(result, shape: images.shape)
    }

    @Test func scalesThatAreTooSmallAreNamed() throws {
        let model = try Recognizer("densenet121")
        model.eval()
        let descriptor = EmbeddingDescriptor(.init(scales: [1, 0.5]))
        let error = #expect(throws: InputShapeError.self) {
            try descriptor.embeddings(model, .zeros([1, 40, 40, 3]))
        }
        #expect(error?.model == "densenet121" && error?.shape == [1, 20, 20, 3])
    }

    @Test func scalesOfAModelOfOneSizeAreNamed() throws {
        let recognizer = try Recognizer("vit_b_32", imageSize: 32)
        recognizer.eval()
        let descriptor = EmbeddingDescriptor(.init(scales: [1, 1.5]))
        #expect(
            throws: DescriptorError.fixedImageSize(model: "vit_b_32", height: 32, width: 32, scales: [1, 1.5])
        ) { try descriptor.embeddings(recognizer, .zeros([1, 32, 32, 3])) }
        #expect(throws: InputShapeError.self) {
            try EmbeddingDescriptor().embeddings(recognizer, .zeros([1, 40, 40, 3]))
        }
    }

    // MARK: GeM

    @Test func gemTakesThePoolingsPlaceOnce() throws {
        let recognizer = try Self.makeRecognizer(normalize: false)
        let average = GradientMode.disabled { recognizer(images) }
        let descriptor = EmbeddingDescriptor(.init(gem: 3, normalizes: false))
        try descriptor.prepare(recognizer)
        let pool = try #require(try recognizer.backbone.module(at: ["5"]) as? GeMPool2d)
        #expect(pool.p == 3 && !pool.isTraining)
        try descriptor.prepare(recognizer)
        #expect(try recognizer.backbone.module(at: ["5"]) === pool)

        let got = try descriptor.embeddings(recognizer, images)
        let maps = GradientMode.disabled { () -> Tensor in
            var x = images
            for index in 0..<5 { x = try! recognizer.backbone.module(at: ["\(index)"])(x) }
            return x
        }
        expectEqual(got, GeMPool2d(p: 3)(maps).reshaped([3, 12]))
        #expect(zip(got.scalars, average.scalars).contains { abs($0 - $1) > 1e-3 })
        let eager = try Engine.withoutPlans { () throws(any Error) in try descriptor.embeddings(recognizer, images) }
        expectEqual(got, eager)

        try EmbeddingDescriptor(.init(gem: 2)).prepare(recognizer)
        #expect((try recognizer.backbone.module(at: ["5"]) as? GeMPool2d)?.p == 2)
    }

    @Test(arguments: [nil, 4] as [Float?]) func withoutGeMTheModelPoolsInItsOwnWayAgain(ownExponent: Float?) throws {
        let own = ownExponent.map { GeMPool2d(p: $0) } ?? AdaptiveAvgPool2d(1)
        let recognizer = try Self.makeRecognizer(pool: own)
        let plain = EmbeddingDescriptor()
        try plain.prepare(recognizer)
        #expect(try recognizer.backbone.module(at: ["5"]) === own)
        let expected = try plain.embeddings(recognizer, images)
        for isTraining in [false, true] {
            recognizer.train(isTraining)
            for p in [Float(3), 2] {
                try EmbeddingDescriptor(.init(gem: p)).prepare(recognizer)
                #expect((try recognizer.backbone.module(at: ["5"]) as? GeMPool2d)?.p == p)
            }
            recognizer.eval()
            let gem = try EmbeddingDescriptor(.init(gem: 2)).embeddings(recognizer, images)
            #expect(zip(gem.scalars, expected.scalars).contains { abs($0 - $1) > 1e-3 })
            for _ in 0..<2 {
                try plain.prepare(recognizer)
                #expect(try recognizer.backbone.module(at: ["5"]) === own)
            }
            #expect(!own.isTraining)
            #expect(try plain.embeddings(recognizer, images).scalars == expected.scalars)
        }
    }

    @Test func aDescriptorOfAnotherPoolingTraps() async {
        for (applied, used) in [(nil, 3), (3, nil), (3, 2)] as [(Float?, Float?)] {
            await #expect(processExitsWith: .failure) {
                [applied = applied as Float?, used = used as Float?] in
                let recognizer = try Self.makeRecognizer()
                try EmbeddingDescriptor(.init(gem: applied)).prepare(recognizer)
                _ = try EmbeddingDescriptor(.init(gem: used)).embeddings(recognizer, .ones([1, 18, 22, 3]))
            }
        }
    }

    @Test func aModelThatPoolsByItselfIsNamed() throws {
        let model = Sequential(Conv2d(3, 8, kernelSize: 3), Flatten(), Linear(32, 4))
        let error = #expect(throws: DescriptorError.self) { try model.setGeMPooling(named: "flat") }
        #expect("\(try #require(error))".contains("flat: it does not average its features"))
    }

    @Test func whiteningOfAnotherSizeIsNamed() throws {
        let recognizer = try Self.makeRecognizer()
        let whitening = PCAWhitening(mean: .zeros([5]), projection: .ones([2, 5]))
        #expect(throws: DescriptorError.embeddingSize(model: "small", size: 12, whitening: 5)) {
            try EmbeddingDescriptor(whitening: whitening).embeddings(recognizer, images)
        }
    }

    // MARK: Files

    @Test func aFileGivesTheSameDescriptor() throws {
        let recognizer = try Self.makeRecognizer()
        var descriptor = EmbeddingDescriptor(.init(flip: true, scales: [0.7, 1, 1.4], gem: 2.5))
        try descriptor.prepare(recognizer)
        let many = ReferenceFill.images(40, 18, 22, salt: "fit")
        descriptor = try descriptor.fitted(to: try descriptor.averagedEmbeddings(recognizer, many), dimension: 6)
        let expected = try descriptor.embeddings(recognizer, images)
        #expect(expected.shape == [3, 6])
        for norm in expected.norm().scalars { #expect(abs(norm - 1) < 1e-5) }
        try withTemporaryFolder { folder in
            let path = folder + "/descriptor.safetensors"
            try descriptor.write(to: path)
            let file = try Checkpoint(contentsOf: path)
            #expect(file.format == .safetensors)
            #expect(file.metadata["recognite.descriptor"] == "1")
            #expect(file.stateDict["whitening.mean"]?.shape == [12])
            #expect(file.stateDict["whitening.projection"]?.shape == [6, 12])
            let read = try EmbeddingDescriptor(contentsOf: path)
            #expect(read.settings == descriptor.settings)
            #expect(try read.embeddings(recognizer, images).scalars == expected.scalars)
        }
    }

    @Test func aFileWithoutWhiteningGivesTheSameSettings() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/descriptor.safetensors"
            let settings = EmbeddingDescriptor.Settings(scales: [1, 0.5], normalizes: false)
            try EmbeddingDescriptor(settings).write(to: path)
            let read = try EmbeddingDescriptor(contentsOf: path)
            #expect(read.settings == settings)
            #expect(read.whitening == nil)
        }
    }

    @Test func filesOfSomethingElseAreNamed() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/w.safetensors"
            try StateDict().write(safetensorsTo: path)
            #expect(throws: DescriptorError.notADescriptor(path: path)) { try EmbeddingDescriptor(contentsOf: path) }
            try StateDict().write(safetensorsTo: path, metadata: ["recognite.descriptor": "2", "settings": "{}"])
            #expect(throws: DescriptorError.unknownVersion(path: path, version: "2")) {
                try EmbeddingDescriptor(contentsOf: path)
            }
            #expect(throws: CheckpointError.self) { try EmbeddingDescriptor(contentsOf: folder + "/none") }
        }
    }

    @Test(
        arguments: [
            (nil, "there are none"), ("{", "cannot be understood"), ("{\"flip\":true}", "cannot be understood"),
            (#"{"flip":true,"scales":[],"normalizes":true}"#, "no scales"),
            (#"{"flip":true,"scales":[1,-1],"normalizes":true}"#, "a scale of -1"),
            (#"{"flip":true,"scales":[1e300],"normalizes":true}"#, "a scale of 1e+300"),
            (#"{"flip":true,"scales":[1],"gem":0.5,"normalizes":true}"#, "a GeM exponent of 0.5"),
        ] as [(String?, String)]) func settingsOutOfRangeAreNamed(json: String?, reason: String) throws
    {
        try withTemporaryFolder { folder in
            let path = folder + "/d.safetensors"
            var metadata = ["recognite.descriptor": "1"]
            metadata["settings"] = json
            try StateDict().write(safetensorsTo: path, metadata: metadata)
            let error = #expect(throws: DescriptorError.self) { try EmbeddingDescriptor(contentsOf: path) }
            guard case .invalidSettings(path, let text)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(text.contains(reason))
        }
    }

    @Test(
        arguments: [
            (["whitening.mean": [3]], "one is missing"),
            (["whitening.mean": [3], "whitening.projection": [2, 4]], "[2, 4]"),
            (["whitening.mean": [3], "whitening.projection": [4, 3]], "[4, 3]"),
            (["whitening.mean": [1, 3], "whitening.projection": [2, 3]], "[1, 3]"),
            (["conv1.weight": [3]], "\"conv1.weight\""),
        ] as [([String: [Int]], String)]) func wrongTensorsAreNamed(shapes: [String: [Int]], reason: String) throws
    {
        let path = try writeDescriptor(shapes.mapValues { .ones($0) })
        defer { try? FileManager.default.removeItem(atPath: path) }
        try expectWrongTensors(path, reason)
    }

    @Test func tensorsThatAreNotFiniteAreNamed() throws {
        let projection = Tensor([1, .nan], shape: [1, 2])
        let path = try writeDescriptor(["whitening.mean": .ones([2]), "whitening.projection": projection])
        defer { try? FileManager.default.removeItem(atPath: path) }
        try expectWrongTensors(path, "whitening.projection has elements that are not finite")
    }

    private func writeDescriptor(_ tensors: [String: Tensor]) throws -> String {
        let path = FileManager.default.temporaryDirectory.appending(path: "recognite-\(UUID()).safetensors").path
        var state = StateDict()
        for (key, tensor) in tensors { state[key] = StateDict.Entry(tensor) }
        let settings = #"{"flip":false,"scales":[1],"normalizes":true}"#
        try state.write(safetensorsTo: path, metadata: ["recognite.descriptor": "1", "settings": settings])
        return path
    }

    private func expectWrongTensors(
        _ path: String, _ reason: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let error = #expect(throws: DescriptorError.self, sourceLocation: sourceLocation) {
            try EmbeddingDescriptor(contentsOf: path)
        }
        guard case .wrongTensors(path, let text)? = error else {
            Issue.record("\(String(describing: error))", sourceLocation: sourceLocation)
            return
        }
        #expect(text.contains(reason), sourceLocation: sourceLocation)
    }

    // MARK: Evaluation

    @Test func evaluationTakesADescriptor() throws {
        try withTemporaryFolder { folder in
            let table = try TrainerTests.drawPictures(in: folder)
            let recognizer = try Self.makeRecognizer()
            var descriptor = EmbeddingDescriptor(.init(flip: true))
            let loader = try ImageLoader(table, transform: EvaluationTransform(size: 16), batchSize: 7)
            let averaged = try recognizer.averagedEmbeddings(of: loader, descriptor: descriptor)
            descriptor = try descriptor.fitted(to: averaged, dimension: 4)
            let got = try recognizer.embeddings(of: loader, descriptor: descriptor)
            #expect(got.shape == [table.count, 4])
            expectEqual(got, descriptor.finished(averaged), tolerance: 1e-6)
            let batches = try loader.batches().map { try $0.get().images }
            let parts = try batches.map { try descriptor.embeddings(recognizer, $0) }
            // Whitening makes the rounding of other products larger.
            expectEqual(got, .concatenated(parts, axis: 0), tolerance: 1e-4)

            let other = PCAWhitening(mean: .zeros([5]), projection: .ones([2, 5]))
            let evaluation = try RecognitionEvaluation(
                gallery: table, query: table, transform: EvaluationTransform(size: 16),
                descriptor: EmbeddingDescriptor(whitening: other))
            #expect(throws: DescriptorError.self) { try evaluation.metrics(recognizer) }
        }
    }
}
