import Layers
import Testing

@Suite struct InitializerTests {
    struct Recipe: CustomTestStringConvertible, Sendable {
        let initializer: Initializer
        let mean: Double
        let std: Double
        /// The bounds of the values; the largest of them must come near.
        let bounds: ClosedRange<Double>?
        var testDescription: String { "\(initializer)" }
    }

    // Of a weight [200, 100, 3, 3] in a state dict: 900 inputs of one output, 1,800 outputs of one input.
    static let recipes = [
        Recipe(initializer: .uniform(low: -1, high: 3), mean: 1, std: 4 / 12.0.squareRoot(), bounds: -1...3),
        Recipe(initializer: .normal(mean: 2, std: 0.5), mean: 2, std: 0.5, bounds: nil),
        Recipe(initializer: .kaimingNormal(.out), mean: 0, std: (2 / 1800.0).squareRoot(), bounds: nil),
        Recipe(initializer: .kaimingNormal(.in, gain: 1), mean: 0, std: (1 / 900.0).squareRoot(), bounds: nil),
        Recipe(
            initializer: .kaimingUniform(.in), mean: 0, std: 1 / (3 * 900.0).squareRoot(), bounds: -1 / 30...1 / 30.0),
        Recipe(
            initializer: .xavierUniform, mean: 0, std: (2 / 2700.0).squareRoot(),
            bounds: -(6 / 2700.0).squareRoot()...(6 / 2700.0).squareRoot()),
        // The standard normal distribution cut at ± 2 has the standard deviation 0.8796.
        Recipe(initializer: .truncatedNormal(std: 1), mean: 0, std: 0.8796, bounds: -2...2),
    ]

    @Test(arguments: recipes) func statisticsMatchTheRecipe(recipe: Recipe) {
        let parameter = withRandomSeed(4) {
            Parameter(shape: [200, 3, 3, 100], layout: .convolution, initializer: recipe.initializer)
        }
        let values = parameter.data.scalars.map(Double.init)
        let mean = values.reduce(0, +) / Double(values.count)
        let std = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()
        #expect(abs(mean - recipe.mean) < 0.01 * recipe.std)
        #expect(abs(std / recipe.std - 1) < 0.01)
        if let bounds = recipe.bounds {
            let (low, high) = (values.min()!, values.max()!)
            #expect(low >= bounds.lowerBound - 1e-6 && high <= bounds.upperBound + 1e-6)
            let width = bounds.upperBound - bounds.lowerBound
            #expect(low < bounds.lowerBound + 0.02 * width && high > bounds.upperBound - 0.02 * width)
        }
    }
}
