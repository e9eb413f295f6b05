import Foundation
import Recognite
import Testing
import TestSupport

extension WholeModelTests {
    /// Models against the numbers that torchvision computed.
    @Suite struct GoldenTests {
        /// In debug builds the kernels are some thirty times slower: two small models stand for all.
        static let names: [String] = {
            #if DEBUG
                print("debug build: golden tests of mobilenet_v2 and resnet18 only; run them all with -c release")
                return ["mobilenet_v2", "resnet18"]
            #else
                return supportedModels
            #endif
        }()

        private func golden(_ name: String) throws -> GoldenFile { try resource(name, as: GoldenFile.self) }

        @Test(arguments: supportedModels) func stateMatchesTorchvision(name: String) throws {
            let golden = try golden(name)
            let model = try ModelRegistry.makeModel(name)
            #expect(model.parameterCount == golden.parameters)
            let keys = model.stateKeysAndShapes
            #expect(keys.map(\.key) == golden.state.map(\.key))
            for (got, expected) in zip(keys, golden.state) { #expect(got.shape == expected.shape, "\(got.key)") }
            #expect(try model.pathToUltimateClassifier() == golden.path)
            #expect(try model.ultimateClassifier().inFeatures == golden.features)
        }

        private func resource<T: Decodable>(_ name: String, as type: T.Type) throws -> T {
            let url = try #require(Bundle.module.url(forResource: name, withExtension: "json", subdirectory: "Golden"))
            return try JSONDecoder().decode(type, from: Data(contentsOf: url))
        }

        private func expectReferenceNumbers(
            _ golden: GoldenFile, model: Module? = nil, conditioning: [String: Double]
        ) throws {
            defer { WholeModelTests.cleanUp() }
            var check = try GoldenCheck(golden, model: model, conditioning: conditioning)
            check.checkEvaluation()
            check.checkTraining()
            check.checkCalibrated()
            // The largest models have no gradients in their files.
            #expect(check.findings.count >= (golden.train.gradients == nil ? 6 : 10))
            for finding in check.findings {
                #expect(finding.isClose, "\(golden.model), \(finding.what): \(finding.comparison.message)")
            }
            if model == nil, let table = ProcessInfo.processInfo.environment["RECOGNITE_ZOO_TABLE"] {
                try NumbersTable.update(table, with: check, of: golden)
            }
        }

        @Test(arguments: names) func numbersMatchTorchvision(name: String) throws {
            let conditioning = try resource("conditioning", as: [String: [String: Double]].self)
            try expectReferenceNumbers(golden(name), conditioning: conditioning[name] ?? [:])
        }

        /// One block a stage: here a unit that rounding switches off moves a gradient by some thousandths at most, so that
        /// gradients of each kind of block are held to one percent (`Tools/make_shallow_golden.py`).
        @Test func gradientsOfShallowNetworksAreWithinOnePercent() throws {
            let configs = [
                "shallow_basic": ResNet.Config(block: .basic, depths: [1, 1, 1, 1]),
                "shallow_bottleneck": ResNet.Config(block: .bottleneck, depths: [1, 1, 1, 1]),
                "shallow_grouped": ResNet.Config(
                    block: .bottleneck, depths: [1, 1, 1, 1], groups: 32, widthPerGroup: 4),
            ]
            for (name, config) in configs {
                let golden = try golden(name)
                let allowance = try #require(golden.train.gradients).mapValues { _ in 0.0025 }
                try expectReferenceNumbers(golden, model: ResNet(config), conditioning: allowance)
            }
        }
    }
}
