import Layers
import Plans
import Tensors
import Testing

/// A model of one function, with what it needs as children.
final class Model: Module {
    let children: ChildList
    private let body: (Tensor, [Module]) -> Tensor

    init(_ children: [Module], _ body: @escaping (Tensor, [Module]) -> Tensor) {
        self.children = ChildList(children)
        self.body = body
        super.init()
        // Statistics other than 0 and 1, so that a norm that is dropped or misplaced shows.
        for case let norm as BatchNorm2d in modules {
            let channels = norm.weight.count
            norm.runningMean.value = Tensor((0..<channels).map { Float($0 % 5) * 0.1 - 0.2 }, shape: [channels])
            norm.runningVariance.value = Tensor((0..<channels).map { 0.5 + Float($0 % 3) }, shape: [channels])
            norm.weight.data = Tensor((0..<channels).map { 1 - Float($0 % 4) * 0.3 }, shape: [channels])
            norm.bias.data = Tensor((0..<channels).map { Float($0 % 7) * 0.1 }, shape: [channels])
        }
        eval()
    }

    override func forward(_ x: Tensor) -> Tensor { body(x, children.modules) }
}

func images(_ shape: [Int], seed: UInt64 = 1) -> Tensor {
    var source = RandomSource(seed: seed)
    return Tensor((0..<shape.reduce(1, *)).map { _ in Float(source.normal()) }, shape: shape)
}

/// A plan for a number of threads of its own: the engine's is the process's, and other tests change it.
func makePlan(_ model: Module, _ shape: [Int], threads: Int) throws -> Plan {
    try #require(
        Plan(imageShape: shape, threads: threads, cache: PackedWeightCache()) { x in
            Engine.withoutPlans { model.forward(x) }
        })
}

/// That a plan computes what the model does, operation by operation.
func expectAgreement(
    _ plan: Plan, _ model: Module, _ x: Tensor, _ label: String, sourceLocation: SourceLocation = #_sourceLocation
) {
    let (planned, expected) = GradientMode.disabled { (plan.run(x), Engine.withoutPlans { model(x) }) }
    let scale = expected.scalars.reduce(0) { max($0, abs($1)) }
    let worst = zip(planned.scalars, expected.scalars).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(worst <= 1e-4 * scale, "\(label)", sourceLocation: sourceLocation)
}
