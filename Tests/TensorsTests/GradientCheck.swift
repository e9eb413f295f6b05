import Tensors
import Testing

/// Gradients against central differences.
enum GradientCheck {
    /// Checks the gradient of `sum(f(inputs) * weights)` with respect to each input, at some of its elements.
    ///
    /// - Parameters:
    ///   - step: the half width of the difference.
    ///   - tolerance: what a difference may deviate by, over the largest element of the gradient.
    static func check(
        _ name: String, _ inputs: [Tensor], step: Float = 1e-2, tolerance: Float = 2e-3,
        _ function: ([Tensor]) -> Tensor
    ) {
        var source = RandomSource(seed: 7)
        let output = function(inputs)
        let weights = Tensor.random(output.shape, using: &source)
        // Of elements that are summed in double, the difference keeps its digits.
        func value(_ inputs: [Tensor]) -> Double {
            zip(function(inputs).scalars, weights.scalars).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        var gradients = [Tensor?](repeating: nil, count: inputs.count)
        let leaves = inputs.indices.map { index in inputs[index].watched { gradients[index] = $0 } }
        function(leaves).backward(gradient: weights)
        for (index, input) in inputs.enumerated() {
            guard let gradient = gradients[index] else {
                Issue.record("\(name): no gradient for input \(index)")
                continue
            }
            #expect(gradient.shape == input.shape, "\(name): shape of the gradient for input \(index)")
            let expectedScale = gradient.scalars.map(abs).max() ?? 0
            for element in stride(from: 0, to: input.count, by: max(1, input.count / 13)) {
                func shifted(_ delta: Float) -> [Tensor] {
                    var scalars = input.scalars
                    scalars[element] += delta
                    var changed = inputs
                    changed[index] = Tensor(scalars, shape: input.shape)
                    return changed
                }
                let difference = Float((value(shifted(step)) - value(shifted(-step))) / (2 * Double(step)))
                let got = gradient.scalars[element]
                #expect(
                    abs(got - difference) <= tolerance * max(expectedScale, 1e-3),
                    "\(name): input \(index), element \(element): gradient \(got), difference \(difference)")
            }
        }
    }
}

extension Tensor {
    /// Uniform in [-1, 1).
    static func random(_ shape: [Int], using source: inout RandomSource) -> Tensor {
        Tensor(shape: shape) { target in
            for index in target.indices { target[index] = Float(source.uniform() * 2 - 1) }
        }
    }
}
