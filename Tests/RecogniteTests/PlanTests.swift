import Recognite
import TestSupport
import Testing

extension WholeModelTests {
    /// Plans against the same models operation by operation.
    @Suite struct PlanTests {
        /// Models, and sizes of images that they take beside their own.
        static let cases: [(model: String, sizes: [Int])] = {
            #if DEBUG
                return [("shufflenet_v2_x0_5", [64]), ("resnet18", [33])]
            #else
                return supportedModels.map { name in
                    let entry = try! ModelRegistry.entry(name)
                    if entry.hasFixedInputSize { return (name, [224]) }
                    return (name, name == "inception_v3" ? [96, 113, 160] : [64, 97, 128])
                }
            #endif
        }()

        /// How many of the images run at once, at the first size and at the others. Eight of a model with more than 200
        /// million parameters would take minutes, and its layers are those of smaller ones.
        private static func batches(_ model: Module, isFirstSize: Bool) -> [Int] {
            if !isFirstSize { return [3] }
            return model.parameters().reduce(0) { $0 + $1.data.count } > 200_000_000 ? [1, 3] : [1, 3, 8]
        }

        @Test(arguments: cases)
        func plansAgreeWithOperations(_ model: String, _ sizes: [Int]) throws {
            defer { WholeModelTests.cleanUp() }
            let recognizer = try withRandomSeed(7) { try Recognizer(model) }
            recognizer.eval()
            let parameters = Self.digest(recognizer)
            for size in sizes {
                let batches = Self.batches(recognizer, isFirstSize: size == sizes[0])
                let images = ReferenceFill.images(
                    batches.last!, size, size + (sizes.count > 1 ? 7 : 0), salt: "plan")
                let eager = GradientMode.disabled { Engine.withoutPlans { recognizer(images) } }
                let expected = eager.scalars
                // Embeddings have length 1.
                let scale = 1 / Float(eager.shape[1]).squareRoot()
                for batch in batches {
                    let planned = GradientMode.disabled { recognizer(images.sliced(axis: 0, 0..<batch)) }
                    #expect(planned.shape == [batch, eager.shape[1]])
                    let (rows, width) = (planned.scalars, eager.shape[1])
                    for image in 0..<batch {
                        let range = image * width..<(image + 1) * width
                        let cosine = zip(rows[range], expected[range]).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
                        #expect(cosine >= 0.99999, "\(model) at \(size), image \(image) of \(batch): cosine \(cosine)")
                    }
                    for (index, (a, b)) in zip(rows, expected).enumerated()
                    where !(abs(a - b) <= 2e-4 * scale + 1e-3 * abs(b)) {
                        Issue.record(
                            "\(model) at \(size), \(batch) images: element \(index) is \(a) in the plan, \(b) without")
                        break
                    }
                }
            }
            // Plans have freed most parameters' memory: they are computed from packed weights.
            #expect(Self.digest(recognizer) == parameters, "\(model): parameters are not what they were")
        }

        /// A hash of the bits of all parameters.
        private static func digest(_ model: Module) -> Int {
            var hasher = Hasher()
            for parameter in model.parameters() {
                parameter.data.withUnsafeScalars { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
            }
            return hasher.finalize()
        }
    }
}
