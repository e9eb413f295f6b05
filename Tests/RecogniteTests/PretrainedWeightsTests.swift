import Foundation
import Recognite
import TestSupport
import Testing

/// What families do to weights on the way in, and what published weights do to models: files in place of downloads.
@Suite struct PretrainedWeightsTests {
    private let store: WeightStore

    init() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "recognite-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // Nobody listens there: what is not in the folder is an error.
        store = WeightStore(folder: folder.path, mirror: "http://127.0.0.1:1")
    }

    private func cleanUp() { try? FileManager.default.removeItem(atPath: store.folder) }

    private func path(_ name: String) -> String { store.folder + "/" + name }

    /// Puts a state dict where the download of a model's default weights would be.
    private func publish(_ state: StateDict, as model: String) throws {
        try state.write(safetensorsTo: store.path(of: WeightCatalogue.entry("DEFAULT", of: model)))
    }

    private func scalars(_ module: Module, _ key: String) throws -> [Float] {
        try #require(module.stateDict()[key]).tensor().scalars
    }

    @Test func entriesComeFromTheStore() throws {
        defer { cleanUp() }
        let model = withRandomSeed(1) { ResNet(ResNet.Config(block: .basic, depths: [2, 2, 2, 2])) }
        try publish(model.stateDict(), as: "resnet18")
        for name in ["DEFAULT", "IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"] {
            let recognizer = try Recognizer("resnet18", weights: PretrainedWeights(name), from: store)
            #expect(try scalars(recognizer, "backbone.conv1.weight") == scalars(model, "conv1.weight"))
        }
        let classifier = try loadClassifier("resnet18", weights: "DEFAULT", from: store)
        #expect(try scalars(classifier, "fc.bias") == scalars(model, "fc.bias"))
        #expect(throws: UnknownWeightsError.self) {
            try Recognizer("resnet18", weights: "IMAGENET1K_V2", from: store)
        }
        #expect(throws: UnknownModelError.self) { try Recognizer("resnet1", weights: "DEFAULT", from: store) }
        let error = #expect(throws: WeightDownloadError.self) {
            try Recognizer("resnet34", weights: "DEFAULT", from: store)
        }
        #expect(error.map { "\($0)" }?.contains("resnet34-b627a593.pth") == true)
    }

    @Test func publishedGoogLeNetLosesItsHeadsAndTransformsItsInput() throws {
        defer { cleanUp() }
        let original = withRandomSeed(1) { GoogLeNet() }
        try publish(original.stateDict(), as: "googlenet")
        let recognizer = try Recognizer("googlenet", numClasses: 3, weights: "DEFAULT", from: store)
        let classifier = try loadClassifier("googlenet", weights: "DEFAULT", from: store)
        for case let model as GoogLeNet in [recognizer.backbone, classifier] {
            #expect(model.transformInput && model.aux1 == nil && model.aux2 == nil)
        }
        #expect(classifier.parameterCount == 6_624_904)
        let off = try Recognizer("googlenet", weights: "DEFAULT", transformInput: false, from: store)
        #expect((off.backbone as? GoogLeNet)?.transformInput == false)

        // A file does not tell.
        let file = PretrainedWeights.file(store.path(of: try WeightCatalogue.entry("DEFAULT", of: "googlenet")))
        let plain = try #require(try loadClassifier("googlenet", weights: file) as? GoogLeNet)
        #expect(!plain.transformInput && plain.aux1 != nil && plain.aux2 != nil)
        #expect(try scalars(plain, "aux1.fc2.weight") == scalars(original, "aux1.fc2.weight"))
        let told = try Recognizer("googlenet", weights: file, transformInput: true)
        #expect((told.backbone as? GoogLeNet)?.transformInput == true)

        // As Python saves a pretrained model: without heads. And one with heads of its own number of classes.
        try classifier.stateDict().write(safetensorsTo: path("headless.safetensors"))
        let headless = try loadClassifier("googlenet", weights: .file(path("headless.safetensors")))
        #expect((headless as? GoogLeNet)?.aux1 == nil)
        try GoogLeNet(numClasses: 4).stateDict().write(safetensorsTo: path("four.safetensors"))
        let four = try Recognizer("googlenet", weights: .file(path("four.safetensors")))
        #expect(four.stateDict()["backbone.aux2.fc2.weight"]?.shape == [4, 1024])

        // A load that fails leaves the heads as they were.
        var broken = classifier.stateDict()
        broken["conv1.conv.weight"] = nil
        try broken.write(safetensorsTo: path("broken.safetensors"))
        #expect(throws: WeightsMismatchError.self) { try four.load(.file(path("broken.safetensors"))) }
        #expect(four.stateDict()["backbone.aux2.fc2.weight"]?.shape == [4, 1024])
        try four.load("DEFAULT", from: store)
        #expect((four.backbone as? GoogLeNet)?.aux1 == nil)
    }

    @Test func publishedInceptionKeepsItsHeadAndTransformsItsInput() throws {
        defer { cleanUp() }
        let original = withRandomSeed(1) { Inception3() }
        try publish(original.stateDict(), as: "inception_v3")
        let recognizer = try Recognizer("inception_v3", weights: "DEFAULT", from: store)
        let classifier = try loadClassifier("inception_v3", weights: "DEFAULT", from: store)
        for case let model as Inception3 in [recognizer.backbone, classifier] {
            #expect(model.transformInput && model.AuxLogits != nil)
        }
        #expect(classifier.parameterCount == 27_161_264)
        original.AuxLogits = nil
        try original.stateDict().write(safetensorsTo: path("headless.safetensors"))
        let headless = try loadClassifier("inception_v3", weights: .file(path("headless.safetensors")))
        #expect((headless as? Inception3)?.AuxLogits == nil && (headless as? Inception3)?.transformInput == false)
    }

    @Test func oldKeysLoadFromEntriesFilesAndRecognizers() throws {
        defer { cleanUp() }
        let dense = withRandomSeed(1) { DenseNet(DenseNet.Config(depths: [6, 12, 24, 16])) }
        let old = dense.stateDict().mapKeys { key in
            key.hasSuffix("num_batches_tracked")
                ? nil : key.replacing(/(denselayer\d+\.(?:norm|relu|conv))([12])/) { "\($0.1).\($0.2)" }
        }
        try publish(old, as: "densenet121")
        let key = "features.denseblock3.denselayer7.conv2.weight"
        let classifier = try loadClassifier("densenet121", weights: "DEFAULT", from: store)
        #expect(try scalars(classifier, key) == scalars(dense, key))
        let file = store.path(of: try WeightCatalogue.entry("DEFAULT", of: "densenet121"))
        let recognizer = try Recognizer("densenet121", numClasses: 2, weights: .file(file))
        #expect(try scalars(recognizer, "backbone." + key) == scalars(dense, key))

        let transformer = try ModelRegistry.makeModel("vit_b_32")
        let legacy = transformer.stateDict().mapKeys { key in
            key.replacing(".mlp.0.", with: ".mlp.linear_1.").replacing(".mlp.3.", with: ".mlp.linear_2.")
        }
        #expect(legacy.keys.contains("encoder.layers.encoder_layer_0.mlp.linear_2.weight"))
        try publish(legacy, as: "vit_b_32")
        let mlp = "encoder.layers.encoder_layer_11.mlp.3.weight"
        let loaded = try Recognizer("vit_b_32", weights: "DEFAULT", from: store)
        #expect(try scalars(loaded, "backbone." + mlp) == scalars(transformer, mlp))
    }

    /// torchvision's first version had a stem of 32 and 16 channels whatever the width.
    @Test func mnasNetOfTheFirstVersionGetsItsStem() throws {
        defer { cleanUp() }
        for (name, width) in [("mnasnet0_5", 0.5), ("mnasnet1_3", 1.3)] {
            let first = MNASNet(width: width, numClasses: 5)
            let stem = try #require(first.layers as? Sequential)
            let wide = try #require(MNASNet(width: 1, numClasses: 5).layers as? Sequential)
            for index in 0..<8 { stem[index] = wide[index] }
            let block = try #require(stem[8] as? Sequential)
            // Written out, not by the code under test: the first block takes 16 channels, three times as many inside.
            let hidden = 48
            let layers = try #require(try block.module(at: ["0", "layers"]) as? Sequential)
            let out = try #require(layers[6] as? Conv2d).outChannels
            layers[0] = Conv2d(16, hidden, kernelSize: 1, bias: false)
            layers[1] = BatchNorm2d(hidden, momentum: 0.0003)
            layers[3] = Conv2d(hidden, hidden, kernelSize: 3, stride: 2, padding: 1, groups: hidden, bias: false)
            layers[4] = BatchNorm2d(hidden, momentum: 0.0003)
            layers[6] = Conv2d(hidden, out, kernelSize: 1, bias: false)
            try first.stateDict().write(safetensorsTo: path("first.safetensors"))
            let file = PretrainedWeights.file(path("first.safetensors"))

            let images = ReferenceFill.images(2, 40, 48, salt: "mnasnet")
            let loaded = try loadClassifier(name, weights: file)
            first.eval()
            let (got, expected) = GradientMode.disabled { (loaded(images), first(images)) }
            #expect(got.scalars == expected.scalars)

            // A recognizer of today's form takes them too, and goes back if they do not fit.
            let recognizer = try Recognizer(name)
            recognizer.eval()
            var broken = first.stateDict()
            broken["layers.14.weight"] = nil
            try broken.write(safetensorsTo: path("broken.safetensors"))
            let shapes = recognizer.stateKeysAndShapes.map(\.shape)
            #expect(throws: WeightsMismatchError.self) { try recognizer.load(.file(path("broken.safetensors"))) }
            #expect(recognizer.stateKeysAndShapes.map(\.shape) == shapes)
            try recognizer.load(file)
            #expect(recognizer.modules.allSatisfy { !$0.isTraining })
            #expect(recognizer.stateDict()["backbone.layers.0.weight"]?.shape == [32, 3, 3, 3])
        }
    }

    @Test func visionTransformersTakeWeightsOfAnotherSize() throws {
        defer { cleanUp() }
        let model = try ModelRegistry.makeModel("vit_b_32", numClasses: 6, imageSize: 96)
        try model.stateDict().write(safetensorsTo: path("96.safetensors"))
        let file = PretrainedWeights.file(path("96.safetensors"))
        // The file says what size it is for.
        let same = try #require(try loadClassifier("vit_b_32", weights: file) as? VisionTransformer)
        #expect(same.imageSize == 96)
        // Another one by request, equal to torchvision's function (see TransformerTests).
        let expected = try VisionTransformer.interpolatingEmbeddings(
            of: model.stateDict(), imageSize: 160, patchSize: 32)
        let key = "encoder.pos_embedding"
        let larger = try #require(try loadClassifier("vit_b_32", weights: file, imageSize: 160) as? VisionTransformer)
        #expect(larger.imageSize == 160)
        #expect(try scalars(larger, key) == expected[key]?.tensor().scalars)
        let recognizer = try Recognizer("vit_b_32", weights: file, imageSize: 160)
        #expect(try scalars(recognizer, "backbone." + key) == expected[key]?.tensor().scalars)
        recognizer.eval()
        #expect(GradientMode.disabled { recognizer(.zeros([1, 160, 160, 3])) }.shape == [1, 768])
        // Into a model that is there, its own size counts.
        let standard = try Recognizer("vit_b_32")
        try standard.load(file)
        #expect(standard.stateDict()["backbone." + key]?.shape == [1, 50, 768])

        let error = #expect(throws: ImageSizeError.self) { try Recognizer("vit_b_32", imageSize: 100) }
        #expect(error.map { "\($0)" }?.contains("100") == true)
        #expect(throws: ImageSizeError.self) { try Recognizer("maxvit_t", imageSize: 256) }
        var odd = model.stateDict()
        odd[key] = StateDict.Entry(.zeros([1, 8, 768]))
        try odd.write(safetensorsTo: path("odd.safetensors"))
        let noSquare = #expect(throws: PositionEmbeddingError.self) {
            try loadClassifier("vit_b_32", weights: .file(path("odd.safetensors")))
        }
        #expect(noSquare.map { "\($0)" }?.contains("odd.safetensors") == true)
    }
}

/// Images that a model cannot take.
@Suite struct InputShapeTests {
    /// The smallest sizes run, and what is a pixel smaller is an error, not the end of the process.
    @Test(arguments: [
        ("alexnet", 63), ("convnext_tiny", 32), ("densenet121", 29), ("googlenet", 15), ("inception_v3", 75),
        ("swin_t", 4), ("swin_v2_t", 4), ("vgg11", 32), ("resnet18", 1), ("mobilenet_v2", 1), ("efficientnet_b0", 1),
        ("mnasnet0_5", 1), ("mobilenet_v3_small", 1), ("regnet_y_400mf", 1), ("shufflenet_v2_x0_5", 1),
    ]) func theLeastSizeRunsAndASmallerOneIsAnError(name: String, side: Int) throws {
        let model = try ModelRegistry.makeModel(name)
        model.eval()
        try model.checkInput(shape: [1, side, side, 3])
        // On shapes alone: a smaller one would end the process here.
        #expect(ModuleSummary(of: model, inputShape: [1, side, side, 3]).total.outputShape == [1, 1000])
        guard side > 1 else { return }
        for shape in [[1, side - 1, 300, 3], [1, 300, side - 1, 3]] {
            let error = #expect(throws: InputShapeError.self) { try model.checkInput(shape: shape, named: name) }
            #expect(error.map { "\($0)" }?.contains("\(side) x \(side)") == true)
        }
    }

    /// The check itself ends no process, and refuses nothing that runs.
    @Test(arguments: supportedModels) func oneImageOfTheUsualSizeCanBeTrainedWith(name: String) throws {
        let model = try ModelRegistry.makeModel(name)
        // Its auxiliary head leaves one pixel.
        (model as? Inception3)?.AuxLogits = nil
        let side = try ModelRegistry.entry(name).inputSize
        try model.checkInput(shape: [1, side, side, 3])
    }

    @Test func modelsOfOneSizeSaySo() throws {
        for (name, size) in [("vit_b_16", 224), ("maxvit_t", 224)] {
            let recognizer = try Recognizer(name)
            try recognizer.checkInput(shape: [2, size, size, 3])
            for shape in [[1, 256, 256, 3], [1, 224, 256, 3], [1, 4, 4, 3]] {
                let error = #expect(throws: InputShapeError.self) { try recognizer.checkInput(shape: shape) }
                #expect(error.map { "\($0)" }?.contains("224 x 224") == true)
                #expect(error.map { "\($0)" }?.contains(name) == true)
            }
        }
        for shape in [[1, 224, 224, 4], [224, 224, 3], [1, 0, 224, 3]] {
            #expect(throws: InputShapeError.self) { try Recognizer("resnet18").checkInput(shape: shape) }
        }
    }

    @Test func oneImageInTrainingNeedsMoreThanOnePixelAtEveryBatchNorm() throws {
        for (name, side) in [("resnet18", 32), ("mobilenet_v2", 32), ("densenet121", 60), ("googlenet", 46)] {
            let recognizer = try Recognizer(name, numClasses: 3)
            let error = #expect(throws: InputShapeError.self) {
                try recognizer.checkInput(shape: [1, side, side, 3])
            }
            #expect(error.map { "\($0)" }?.contains("backbone.") == true)
            try recognizer.checkInput(shape: [1, side + 1, side + 1, 3])
            try recognizer.checkInput(shape: [2, side, side, 3])
            recognizer.eval()
            try recognizer.checkInput(shape: [1, side, side, 3])
        }
        let inception = Inception3()
        #expect(throws: InputShapeError.self) { try inception.checkInput(shape: [2, 298, 298, 3]) }
        try inception.checkInput(shape: [2, 299, 299, 3])
        // The auxiliary head's last convolution leaves one pixel, however large the batch norm's map is elsewhere.
        #expect(throws: InputShapeError.self) { try inception.checkInput(shape: [1, 299, 299, 3]) }
        inception.AuxLogits = nil
        try inception.checkInput(shape: [1, 299, 299, 3])
        try ModelRegistry.makeModel("vgg11").checkInput(shape: [1, 32, 32, 3])
    }
}
