import Foundation
import Recognite
import Testing
import TestSupport

/// Models against the numbers that torchvision computed.
@Suite(.serialized) struct GoldenTests {
    static let names = supportedModels

    private func golden(_ name: String) throws -> GoldenFile {
        let url = try #require(Bundle.module.url(forResource: name, withExtension: "json", subdirectory: "Golden"))
        return try GoldenFile(contentsOf: url)
    }

    @Test(arguments: names) func stateMatchesTorchvision(name: String) throws {
        let golden = try golden(name)
        let model = try ModelRegistry.makeModel(name)
        #expect(model.parameterCount == golden.parameters)
        let keys = model.stateKeysAndShapes
        #expect(keys.map(\.key) == golden.state.map(\.key))
        for (got, expected) in zip(keys, golden.state) { #expect(got.shape == expected.shape, "\(got.key)") }
        #expect(try model.pathToUltimateClassifier() == golden.path)
        #expect(try model.ultimateClassifier().inFeatures == golden.features)
    }

    @Test(arguments: names) func numbersMatchTorchvision(name: String) throws {
        var check = try GoldenCheck(golden(name))
        check.checkEvaluation()
        check.checkTraining()
        check.checkCalibrated()
        #expect(check.findings.count >= 10)
        for finding in check.findings {
            #expect(finding.comparison.isClose, "\(name), \(finding.what): \(finding.comparison.message)")
        }
        if ProcessInfo.processInfo.environment["VERBOSE_GOLDEN"] != nil {
            let worst = check.findings.max { $0.comparison.worst < $1.comparison.worst }!
            print(name, worst.what, worst.comparison.worst, worst.comparison.relativeError)
        }
    }
}
