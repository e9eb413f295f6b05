import Foundation
import Recognite
import TestSupport
import Testing

extension WholeModelTests {
    /// GeM pooling in torchvision's architectures.
    @Suite struct GeMPoolingTests {
        /// How an architecture pools its features.
        struct Family: Sendable, CustomTestStringConvertible {
            let model: String
            /// The images' sides, in pixels.
            var size = (height: 96, width: 70)
            /// Where the pooling's module is; `nil`: it is in `forward`.
            var path: [String]? = ["avgpool"]
            /// Whether the features are at least 0, so that GeM pooling with exponent 1 is their mean.
            var isPositive = true

            var testDescription: String { model }
        }

        /// A small model of each family.
        static let families: [Family] = {
            let functional = ["densenet121", "mobilenet_v2", "mnasnet0_5", "shufflenet_v2_x0_5"].map {
                Family(model: $0, path: nil)
            }
            #if DEBUG
                return [functional[3], Family(model: "resnet18")]
            #else
                return functional + [
                    Family(model: "convnext_tiny", isPositive: false),
                    Family(model: "efficientnet_b0", isPositive: false),
                    Family(model: "googlenet"),
                    Family(model: "inception_v3", size: (235, 203)),
                    Family(model: "maxvit_t", size: (224, 224), path: ["classifier", "0"], isPositive: false),
                    Family(model: "mobilenet_v3_small", isPositive: false),
                    Family(model: "regnet_y_400mf"),
                    Family(model: "resnet18"),
                    Family(model: "swin_t", isPositive: false),
                ]
            #endif
        }()

        /// GeM pooling of an exponent, or the mean, written out: `[N, H, W, C]` to `[N, 1, 1, C]`.
        private final class PoolingByHand: Module {
            private let p: Double?

            init(p: Float?) {
                self.p = p.map(Double.init)
                super.init()
            }

            override func forward(_ x: Tensor) -> Tensor {
                let (batch, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
                let scalars = x.scalars
                var result: [Float] = []
                for n in 0..<batch {
                    for c in 0..<channels {
                        let values = (0..<pixels).map { Double(scalars[(n * pixels + $0) * channels + c]) }
                        if let p {
                            let mean = values.reduce(0) { $0 + pow(max($1, 1e-6), p) } / Double(pixels)
                            result.append(Float(pow(mean, 1 / p)))
                        } else {
                            result.append(Float(values.reduce(0, +) / Double(pixels)))
                        }
                    }
                }
                return Tensor(result, shape: [batch, 1, 1, channels])
            }
        }

        /// What a family that pools in `forward` pools.
        private func features(_ model: Module, _ x: Tensor) -> Tensor {
            switch model {
            case let model as DenseNet: model.features(x).activated(.relu)
            case let model as MobileNetV2: model.features(x)
            case let model as MNASNet: model.layers(x)
            case let model as ShuffleNetV2:
                model.conv5(model.stage4(model.stage3(model.stage2(model.maxpool(model.conv1(x))))))
            default: preconditionFailure("\(model.typeName)")
            }
        }

        /// The embeddings of a model that pools by hand.
        private func expected(
            _ recognizer: Recognizer, _ images: Tensor, p: Float?, at path: [String]?
        ) throws -> Tensor {
            try Engine.withoutPlans { () throws(any Error) in
                try GradientMode.disabled {
                    let pooling = PoolingByHand(p: p)
                    pooling.eval()
                    guard let path else {
                        let pooled = pooling(features(recognizer.backbone, images))
                        return pooled.reshaped([images.shape[0], recognizer.embeddingSize])
                    }
                    let own = try recognizer.backbone.module(at: path)
                    try recognizer.backbone.setModule(at: path, to: pooling)
                    defer { try? recognizer.backbone.setModule(at: path, to: own) }
                    return recognizer(images)
                }
            }
        }

        /// The largest difference over the root mean square of `b`; infinite for a NaN.
        private func difference(_ a: Tensor, _ b: Tensor) -> Float {
            guard a.shape == b.shape else { return .infinity }
            let (a, b) = (a.scalars, b.scalars)
            let scale = (b.reduce(0) { $0 + $1 * $1 } / Float(b.count)).squareRoot()
            return zip(a, b).reduce(0) { $1.0.isNaN || $1.1.isNaN ? .infinity : max($0, abs($1.0 - $1.1)) } / scale
        }

        @Test(arguments: families) func embeddingsAreThoseOfPoolingByHand(family: Family) throws {
            defer { WholeModelTests.cleanUp() }
            let name = family.model
            let model = try withRandomSeed(11) { try ModelRegistry.makeModel(name) }
            // In training mode it wants larger images.
            (model as? Inception3)?.AuxLogits = nil
            let recognizer = try Recognizer(model: model, named: name, normalize: false)
            let images = ReferenceFill.images(2, family.size.height, family.size.width, salt: "gem")
            recognizer.calibrate(images)
            let average = GradientMode.disabled { recognizer(images) }
            let mean = try expected(recognizer, images, p: nil, at: family.path)
            #expect(difference(average, mean) < 1e-3, "the mean: off by \(difference(average, mean))")

            for p in [Float(1), 3] {
                let byHand = try expected(recognizer, images, p: p, at: family.path)
                let descriptor = EmbeddingDescriptor(.init(gem: p, normalizes: false))
                try descriptor.prepare(recognizer)
                #expect(recognizer.planSummary(imageShape: Array(images.shape.dropFirst())) != nil)
                let planned = try descriptor.embeddings(recognizer, images)
                let eager = try Engine.withoutPlans { () throws(any Error) in
                    try descriptor.embeddings(recognizer, images)
                }
                #expect(difference(planned, byHand) < 1e-3, "p = \(p), plan: off by \(difference(planned, byHand))")
                #expect(difference(eager, byHand) < 1e-3, "p = \(p), eager: off by \(difference(eager, byHand))")
                let change = difference(planned, average)
                if p == 3 {
                    #expect(change > 0.02, "p = 3: off the mean by \(change) alone")
                } else if family.isPositive {
                    #expect(change < 1e-3, "p = 1: off the mean by \(change)")
                }
            }
            let plain = EmbeddingDescriptor(.init(normalizes: false))
            try plain.prepare(recognizer)
            // Not to the bit: tests of the pool change the number of threads meanwhile.
            #expect(try difference(plain.embeddings(recognizer, images), average) < 1e-5)
        }

        /// Why the architectures that have no global average pooling are refused, by the beginnings of their names.
        static let refusals = [
            "alexnet": "it pools to a grid of 6 x 6 values", "vgg": "it pools to a grid of 7 x 7 values",
            "vit_": "it takes its class token",
        ]

        @Test(arguments: supportedModels) func everyArchitectureTakesItOrSaysWhyNot(name: String) throws {
            let model = try ModelRegistry.makeModel(name)
            let (paths, keys) = (model.namedModules.map(\.path), model.stateKeysAndShapes.map(\.key))
            let count = { model.modules.filter { $0 is GeMPool2d }.count }
            if let reason = Self.refusals.first(where: { name.hasPrefix($0.key) })?.value {
                let error = #expect(throws: DescriptorError.self) { try model.setGeMPooling(p: 3, named: name) }
                guard case .noAveragePool(name, let text)? = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                #expect(text.contains(reason))
                #expect(count() == 0)
            } else {
                try model.setGeMPooling(p: 3, named: name)
                if let family = model as? any FunctionalPooling {
                    #expect(family.gemPooling?.p == 3)
                    #expect(count() == 0)
                } else {
                    // Squeeze and excitation keep their own averages.
                    #expect(count() == 1)
                    let path = name.hasPrefix("maxvit") ? ["classifier", "0"] : ["avgpool"]
                    #expect(try model.module(at: path) is GeMPool2d)
                }
            }
            #expect(model.namedModules.map(\.path) == paths)
            #expect(model.stateKeysAndShapes.map(\.key) == keys)
        }
    }
}
