import Foundation
import Recognite
import Testing
import TestSupport

/// A user's own network.
private final class TinyNet: Module {
    @Child var features: Module
    @Child var head: Module

    init(head: Module? = nil) {
        features = Sequential(
            Conv2d(3, 8, kernelSize: 3, stride: 2, padding: 1), BatchNorm2d(8), ReLU(), AdaptiveAvgPool2d(1), Flatten())
        self.head = head ?? Sequential(Dropout(p: 0), Linear(8, 5))
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { head(features(x)) }
}

@Suite struct RecognizerTests {
    private let images = ReferenceFill.images(3, 12, 14, salt: "recognizer")

    @Test func trainingGivesCosinesAndEvaluationUnitEmbeddings() throws {
        let recognizer = try Recognizer(model: TinyNet(), numClasses: 4)
        let logits = recognizer(images)
        #expect(logits.shape == [3, 4])
        #expect(logits.scalars.allSatisfy { abs($0) <= 1.0001 })
        recognizer.eval()
        let embeddings = recognizer(images)
        #expect(embeddings.shape == [3, 8])
        for norm in embeddings.norm().scalars { #expect(abs(norm - 1) < 1e-5) }
    }

    @Test func classWeightsAreNormalizedInPlaceInTrainingOnly() throws {
        let recognizer = try Recognizer(model: TinyNet(), numClasses: 4)
        let weight = recognizer.parameter("classifier.weight")
        weight.data = weight.data * 5
        recognizer.eval()
        _ = recognizer(images)
        #expect(weight.data.norm().scalars.allSatisfy { abs($0 - 1) > 0.01 })
        recognizer.train()
        _ = recognizer(images)
        #expect(weight.data.norm().scalars.allSatisfy { abs($0 - 1) < 1e-5 })
    }

    @Test func withoutClassesTheEmbeddingComesBackInBothModes() throws {
        let recognizer = try Recognizer(model: TinyNet())
        #expect(recognizer.classifier == nil)
        #expect(recognizer(images).shape == [3, 8])
        recognizer.eval()
        #expect(recognizer(images).shape == [3, 8])
    }

    @Test func normalizationCanBeTurnedOff() throws {
        let recognizer = try Recognizer(model: TinyNet(), numClasses: 4, clfBias: true, normalize: false)
        let weight = recognizer.parameter("classifier.weight")
        let before = weight.data.scalars
        _ = recognizer(images)
        #expect(weight.data.scalars == before)
        #expect(recognizer.stateDict()["classifier.bias"]?.shape == [4])
        recognizer.eval()
        #expect(recognizer(images).scalars == recognizer.backbone(images).scalars)
    }

    @Test func stateKeysAreThoseOfTheReference() throws {
        let keys = try Recognizer(model: TinyNet(), numClasses: 4).stateDict().keys
        #expect(keys.prefix(2) == ["backbone.features.0.weight", "backbone.features.0.bias"])
        #expect(keys.suffix(2) == ["classifier.weight", "_ult_clf.weight"])
        let parameters = try Recognizer(model: TinyNet(), numClasses: 4).namedParameters().map(\.key)
        #expect(parameters.filter { $0.hasSuffix("weight") }.count == 3)
    }

    @Test func aCheckpointMayNameTheClassifierOnce() throws {
        let source = try Recognizer(model: TinyNet(), numClasses: 4)
        for dropped in ["_ult_clf.weight", "classifier.weight"] {
            var state = source.stateDict()
            state[dropped] = nil
            let target = try Recognizer(model: TinyNet(), numClasses: 4)
            try target.load(stateDict: state)
            #expect(
                target.parameter("classifier.weight").data.scalars
                    == source.parameter("classifier.weight").data.scalars)
        }
    }

    @Test func classifierSurgeryFollowsTheReference() throws {
        let net = TinyNet()
        #expect(try net.pathToUltimateClassifier() == ["head", "1"])
        try net.updateClassifier(numClasses: 9, bias: true)
        #expect(try net.ultimateClassifier().outFeatures == 9)
        #expect(try net.ultimateClassifier().bias != nil)
        let (backbone, classifier) = try net.splitBackboneClassifier()
        #expect(backbone === net)
        #expect(classifier.outFeatures == 9)
        #expect(try net.module(at: ["head", "1"]) is Identity)
        #expect(try Linear(3, 2).pathToUltimateClassifier() == [])
        #expect(try TinyNet(head: Linear(8, 2)).pathToUltimateClassifier() == ["head"])
        for module in [TinyNet(head: ReLU()), TinyNet(head: Sequential()), Sequential(), ReLU()] {
            let error = #expect(throws: ClassifierError.self) { try module.pathToUltimateClassifier() }
            #expect(error.map { "\($0)" }?.contains("cannot find a final fully-connected layer") == true)
        }
    }

    @Test func unknownModelsAreNamedWithTheClosestOnes() throws {
        let error = #expect(throws: UnknownModelError.self) { try Recognizer("resnet5") }
        #expect(error?.suggestions.first == "resnet50")
        #expect(error.map { "\($0)" }?.contains("\"resnet5\"") == true)
    }

    @Test func batchNormInTrainingRefusesOneSample() async {
        await #expect(processExitsWith: .failure) {
            _ = Sequential(BatchNorm2d(2))(Tensor.zeros([1, 1, 1, 2]))
        }
    }
}

@Suite struct WeightsTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func path(_ name: String) -> String { folder.path(name) }

    @Test func bareWeightsWithOtherClassesLoadIntoARecognizer() throws {
        let model = try ModelRegistry.makeModel("resnet18", numClasses: 10)
        let bare = model.stateDict()
        try bare.write(safetensorsTo: path("bare.safetensors"))
        try bare.mapKeys { "module." + $0 }.write(safetensorsTo: path("parallel.safetensors"))
        for file in ["bare.safetensors", "parallel.safetensors"] {
            let recognizer = try Recognizer("resnet18", numClasses: 3, weights: .file(path(file)))
            let loaded = recognizer.parameter("backbone.layer4.1.conv2.weight").data.scalars
            #expect(loaded == model.parameter("layer4.1.conv2.weight").data.scalars)
            #expect(recognizer.parameter("classifier.weight").shape == [3, 512])
        }
        let classifier = try loadClassifier("resnet18", weights: .file(path("parallel.safetensors")))
        #expect(try classifier.ultimateClassifier().outFeatures == 10)
    }

    @Test func recognizerWeightsRoundTrip() throws {
        let saved = try Recognizer("resnet18", numClasses: 3)
        try saved.stateDict().write(safetensorsTo: path("recognizer.safetensors"))
        let loaded = try Recognizer("resnet18", numClasses: 3, weights: .file(path("recognizer.safetensors")))
        for (key, entry) in saved.stateDict() {
            #expect(try entry.tensor().scalars == loaded.stateDict()[key]?.tensor().scalars, "\(key)")
        }
        // For embeddings alone the classifier in the file does not matter.
        _ = try Recognizer("resnet18", weights: .file(path("recognizer.safetensors")))
        #expect(throws: WeightsMismatchError.self) {
            try Recognizer("resnet18", numClasses: 4, weights: .file(path("recognizer.safetensors")))
        }
    }

    @Test func weightsOfAnotherModelAreOneErrorWithEveryKey() throws {
        try ModelRegistry.makeModel("resnet34").stateDict().write(safetensorsTo: path("other.safetensors"))
        let error = #expect(throws: WeightsMismatchError.self) {
            try Recognizer("resnet18", weights: .file(path("other.safetensors")))
        }
        #expect(error?.reason.unexpected.contains("backbone.layer1.2.conv1.weight") == true)
        #expect(error.map { "\($0)" }?.contains("other.safetensors") == true)
    }
}
