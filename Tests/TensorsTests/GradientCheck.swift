import Tensors
import Testing

/// Uniform values in -1 ..< 1, the same on every machine.
func randomTensor(_ shape: [Int], seed: UInt64, scale: Float = 1) -> Tensor {
    var source = RandomSource(seed: seed)
    return Tensor((0..<shape.reduce(1, *)).map { _ in scale * Float(2 * source.uniform() - 1) }, shape: shape)
}

/// The gradients of `Σ weights · f(inputs)`, with fixed random weights, by reverse mode.
func gradients(of inputs: [Tensor], _ f: ([Tensor]) -> Tensor) -> [Tensor?] {
    var gradients = [Tensor?](repeating: nil, count: inputs.count)
    let leaves = inputs.enumerated().map { index, input in input.leaf { gradients[index] = $0 } }
    let output = f(leaves)
    output.backward(gradient: randomTensor(output.shape, seed: 99))
    return gradients
}

/// Checks every gradient of `Σ weights · f(inputs)` against central differences. The error may be `tolerance` times the
/// largest element of that gradient.
func expectGradients(
    of inputs: [Tensor], named name: String, step: Float = 1e-2, tolerance: Float = 5e-3, _ f: ([Tensor]) -> Tensor
) {
    func value(_ inputs: [Tensor]) -> Double {
        let output = f(inputs)
        let weights = randomTensor(output.shape, seed: 99)
        return zip(output.scalars, weights.scalars).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    for (index, gradient) in gradients(of: inputs, f).enumerated() {
        guard let gradient else {
            Issue.record("\(name): input \(index) has no gradient")
            continue
        }
        #expect(gradient.shape == inputs[index].shape, "\(name): input \(index)")
        let scalars = inputs[index].scalars
        let differences = scalars.indices.map { element -> Float in
            let values = [step, -step].map { change in
                var changed = scalars
                changed[element] += change
                var all = inputs
                all[index] = Tensor(changed, shape: inputs[index].shape)
                return value(all)
            }
            return Float((values[0] - values[1]) / Double(2 * step))
        }
        let scale = differences.map(abs).max() ?? 0
        for (element, (got, expected)) in zip(gradient.scalars, differences).enumerated() {
            let message = "\(name): input \(index), element \(element): \(got), by differences \(expected)"
            #expect(abs(got - expected) <= tolerance * scale, "\(message)")
        }
    }
}
