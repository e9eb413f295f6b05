import Recognite
import TestSupport
import Testing

/// Plans against the same models operation by operation.
@Suite(.serialized) struct PlanTests {
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

    @Test(arguments: cases)
    func plansAgreeWithOperations(_ model: String, _ sizes: [Int]) throws {
        let recognizer = try withRandomSeed(7) { try Recognizer(model) }
        recognizer.eval()
        for size in sizes {
            let images = ReferenceFill.images(
                3, size, size + (sizes.count > 1 ? 7 : 0), salt: "plan")
            let (planned, eager) = GradientMode.disabled {
                (recognizer(images), Engine.withoutPlans { recognizer(images) })
            }
            #expect(planned.shape == eager.shape)
            let scale = eager.norm().scalars[0] / Float(eager.shape[1]).squareRoot()
            for (index, (a, b)) in zip(planned.scalars, eager.scalars).enumerated()
            where !(abs(a - b) <= 2e-4 * scale + 1e-3 * abs(b)) {
                Issue.record("\(model) at \(size): element \(index) is \(a) in the plan, \(b) without")
                break
            }
        }
    }
}
