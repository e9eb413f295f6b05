import Foundation
import Recognite
import Testing
import TestSupport

/// The recipe of the parameters whose key matches; of several rules the first one counts.
typealias InitializationRule = (key: String, recipe: InitializationRecipe)

/// What the first values of a parameter are drawn from.
enum InitializationRecipe {
    case constant(Float)
    case normal(std: Double)
    /// Uniform within ± bound.
    case uniform(bound: Double)
    /// Normal with `std = √(2 / fan)`, where fan is the outputs that one input of the layer reaches.
    case kaimingNormalFanOut
    /// The same where fan is the inputs of one output of the layer.
    case kaimingNormalFanIn
    /// What torch.nn's layers start with: uniform within ± 1 / √fan, where fan is the inputs of one output of the
    /// layer, for its bias too.
    case layerDefault
}

/// Expects that each parameter of a model follows the first rule whose key matches.
func expectParameters(of name: String, follow rules: [InitializationRule]) throws {
    let model = try withRandomSeed(1) { try ModelRegistry.makeModel(name) }
    let patterns = try rules.map { try Regex($0.key) }
    var matches = rules.map { _ in [(key: String, parameter: Parameter)]() }
    for (key, parameter) in model.namedParameters() {
        let rule = try #require(patterns.firstIndex { key.contains($0) }, "\(name): no recipe for \(key)")
        matches[rule].append((key, parameter))
    }
    // Drawing all numbers of all parameters would take long: the smallest and the largest of each kind.
    for (rule, matches) in zip(rules, matches) {
        let sorted = matches.sorted { $0.parameter.count < $1.parameter.count }
        for (key, parameter) in [sorted.first, sorted.last].compactMap(\.self) {
            let weightKey = key.replacing(/bias$/, with: "weight")
            let distribution = rule.recipe.distribution(forWeightOf: { model.parameter(weightKey).stateShape })
            expect(parameter.data.scalars.map(Double.init), follow: distribution, "\(name), \(key)")
        }
    }
}

private enum Distribution {
    case constant(Float)
    case normal(std: Double)
    case uniform(bound: Double)
}

extension InitializationRecipe {
    /// - Parameter shape: the shape of the layer's weight in a state dict.
    fileprivate func distribution(forWeightOf shape: () -> [Int]) -> Distribution {
        switch self {
        case .constant(let value): return .constant(value)
        case .normal(let std): return .normal(std: std)
        case .uniform(let bound): return .uniform(bound: bound)
        case .kaimingNormalFanOut:
            var shape = shape()
            shape.remove(at: 1)
            return .normal(std: (2 / Double(shape.reduce(1, *))).squareRoot())
        case .kaimingNormalFanIn:
            return .normal(std: (2 / Double(shape().dropFirst().reduce(1, *))).squareRoot())
        case .layerDefault: return .uniform(bound: 1 / Double(shape().dropFirst().reduce(1, *)).squareRoot())
        }
    }
}

/// The statistics may be off by five times their own standard deviation.
private func expect(_ values: [Double], follow distribution: Distribution, _ what: String) {
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let std = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count).squareRoot()
    let most = values.map(abs).max()!
    func expectMoments(std expected: Double) {
        #expect(abs(mean) <= 5 * expected / count.squareRoot(), "\(what): mean \(mean)")
        let allowed = 5 * expected / (2 * count).squareRoot()
        #expect(abs(std - expected) <= allowed, "\(what): standard deviation \(std), expected \(expected)")
    }
    switch distribution {
    case .constant(let value):
        #expect(values.allSatisfy { Float($0) == value }, "\(what): not everywhere \(value)")
    case .normal(let expected):
        expectMoments(std: expected)
        // Further out than a uniform distribution of this deviation reaches.
        #expect(most > 1.8 * expected && most < 7 * expected, "\(what): at most \(most)")
    case .uniform(let bound):
        expectMoments(std: bound / 3.0.squareRoot())
        #expect(most <= bound * 1.000001 && most > bound * (1 - 20 / count), "\(what): at most \(most)")
    }
}
