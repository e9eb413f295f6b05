import Recognite
import Testing
import TestSupport

/// What GoogLeNet and Inception v3 have beside a network: auxiliary heads and the input transform.
@Suite struct InceptionTests {
    private let images = ReferenceFill.images(4, 128, 128, salt: "inception")

    @Test func googLeNetReturnsAllLogitsInTrainingOnly() {
        let model = withRandomSeed(1) { GoogLeNet(numClasses: 5) }
        GradientMode.disabled {
            let training = model.outputs(images)
            for logits in [training.logits, training.auxLogits2, training.auxLogits1] {
                #expect(logits?.shape == [4, 5])
            }
            model.eval()
            let evaluation = model.outputs(images)
            #expect(evaluation.auxLogits2 == nil && evaluation.auxLogits1 == nil)
            // The model runs as one plan, `outputs` as one for each part.
            for (a, b) in zip(evaluation.logits.scalars, model(images).scalars) { #expect(abs(a - b) < 1e-6) }
        }
    }

    @Test func googLeNetDoesWithoutItsAuxiliaryHeads() throws {
        let model = GoogLeNet()
        let state = model.stateKeysAndShapes.map(\.key)
        model.aux1 = nil
        model.aux2 = nil
        // torchvision's number for the published weights.
        #expect(model.parameterCount == 6_624_904)
        #expect(model.stateKeysAndShapes.map(\.key) == state.filter { !$0.hasPrefix("aux") })
        #expect(GradientMode.disabled { model.outputs(images) }.auxLogits1 == nil)
    }

    @Test func inceptionV3ReturnsAllLogitsInTrainingOnly() {
        let model = withRandomSeed(1) { Inception3(numClasses: 5) }
        let images = ReferenceFill.images(2, 299, 299, salt: "inception")
        GradientMode.disabled {
            let training = model.outputs(images)
            #expect(training.logits.shape == [2, 5] && training.auxLogits?.shape == [2, 5])
            model.AuxLogits = nil
            #expect(model.outputs(images).auxLogits == nil)
            model.eval()
            #expect(model(self.images).shape == [4, 5])
        }
    }

    /// With the transform, a model takes images of ImageNet's normalization as it takes those by 0.5 and 0.5 without.
    @Test func inputTransformChangesTheNormalization() {
        func normalized(_ mean: [Float], _ deviation: [Float]) -> Tensor {
            let pixels = images * 0.3 + 0.5
            return (pixels - Tensor(mean, shape: [3])) / Tensor(deviation, shape: [3])
        }
        let imageNet = normalized([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        let half = normalized([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
        let (first, third) = withRandomSeed(1) { (GoogLeNet(numClasses: 5), Inception3(numClasses: 5)) }
        third.AuxLogits = nil  // takes larger images
        func expectSame(_ model: Module, _ setTransform: (Bool) -> Void) {
            model.disableRandomness()
            GradientMode.disabled {
                setTransform(false)
                // With the first running statistics, what the image adds to the output is too small for float32.
                model.calibrate(half)
                let (expected, other) = (model(half).scalars, model(imageNet).scalars)
                setTransform(true)
                let got = model(imageNet).scalars
                let scale = expected.map(abs).max()!
                let error = zip(got, expected).map { abs($0 - $1) }.max()!
                let difference = zip(other, expected).map { abs($0 - $1) }.max()!
                #expect(error <= 5e-4 * scale, "\(model.typeName): off by \(error) of \(scale)")
                #expect(difference > 10 * error, "\(model.typeName): the same without the transform")
            }
        }
        expectSame(first) { first.transformInput = $0 }
        expectSame(third) { third.transformInput = $0 }
    }
}
