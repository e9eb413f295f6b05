import Layers
import ModelZoo
import Recognite
import Tensors

/// Runs one model through everything that its golden file holds.
public struct GoldenCheck {
    /// One comparison: what was compared, and how it went.
    public struct Finding: Sendable {
        public let what: String
        public let comparison: Comparison
        /// How far PyTorch's own float32 is off here.
        public let conditioning: Double

        public var isClose: Bool { comparison.isClose(conditioning: conditioning) }
    }

    public private(set) var findings: [Finding] = []
    private let golden: GoldenFile
    private let recognizer: Recognizer
    private let conditioning: [String: Double]

    /// - Parameters:
    ///   - model: the model, if it is not one of the registry's.
    ///   - conditioning: how far PyTorch's own float32 is off, by the names of the findings.
    public init(_ golden: GoldenFile, model: Module? = nil, conditioning: [String: Double] = [:]) throws {
        self.golden = golden
        self.conditioning = conditioning
        recognizer = try golden.makeRecognizer(model: model)
    }

    /// Embeddings in evaluation mode.
    public mutating func checkEvaluation() {
        recognizer.eval()
        check("eval", golden.eval, salt: golden.salt)
    }

    /// Logits, loss, gradients and running statistics of one training step without dropout.
    public mutating func checkTraining() {
        recognizer.disableRandomness()
        recognizer.train()
        recognizer.zeroGradients()
        let expected = golden.train
        if let loss = expected.loss, let gradients = expected.gradients {
            let logits = recognizer(images(expected.input, salt: golden.salt + "/train"))
            add("logits", expected.logits.compare(logits))
            let got = logits.crossEntropy(Array(0..<expected.input[0]))
            add("loss", .worst(of: [("loss", Double(got.scalar), loss)], scale: abs(loss)))
            got.backward()
            for (key, probe) in gradients.sorted(by: { $0.key < $1.key }) {
                let parameter = recognizer.parameter(key)
                guard let gradient = parameter.gradient else {
                    add(key, Comparison(worst: .infinity, message: "no gradient"))
                    continue
                }
                if conditioning[key, default: 0] > 1 {
                    add(key, vanishing(gradient, beside: key))
                } else {
                    add(key, probe.compare(parameter.layout.toState(gradient)))
                }
            }
            let without = recognizer.namedParameters().filter { $0.parameter.gradient == nil }.map(\.key)
            if without != expected.without_gradient {
                add("parameters without gradient", Comparison(worst: .infinity, message: "\(without)"))
            }
        } else {
            let logits = GradientMode.disabled {
                recognizer(images(expected.input, salt: golden.salt + "/train"))
            }
            add("logits", expected.logits.compare(logits))
        }
        recognizer.zeroGradients()
        for (key, probe) in expected.running.sorted(by: { $0.key < $1.key }) {
            do {
                // Statistics of a training pass are as well conditioned as its logits, at worst.
                let value = try recognizer.stateDict()[key]!.tensor()
                add("running \(key)", probe.compare(value), conditioning: conditioning["logits"])
            } catch {
                preconditionFailure("\(error)")
            }
        }
    }

    /// A gradient that is zero but for rounding: the largest element of all against the gradient of the same layer's
    /// weight.
    private func vanishing(_ gradient: Tensor, beside key: String) -> Comparison {
        let sibling = key.replacing(/bias$/, with: "weight")
        guard sibling != key, let other = recognizer.parameter(sibling).gradient else {
            return Comparison(worst: .infinity, message: "no weight's gradient beside it")
        }
        let scalars = other.scalars
        let scale = (scalars.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(scalars.count)).squareRoot()
        // A comparison with NaN is false: it must not pass.
        let largest = gradient.scalars.reduce(0.0) { $1.isNaN ? .infinity : max($0, Double(abs($1))) }
        return Comparison(
            worst: scale > 0 ? largest / (1e-4 * scale) : .infinity,
            message:
                "up to \(largest), where the gradient is zero and that of \(sibling) has \(scale) (root mean square)")
    }

    /// Embeddings after the running statistics were set by a training pass.
    public mutating func checkCalibrated() {
        recognizer.disableRandomness()
        recognizer.calibrate(images(golden.train.input, salt: golden.salt + "/train"))
        check("calibrated", golden.calibrated, salt: golden.salt + "/calibrated")
    }

    private mutating func check(_ name: String, _ expected: GoldenFile.Evaluation, salt: String) {
        let x = images(expected.input, salt: salt)
        let (raw, embedding) = GradientMode.disabled { (recognizer.backbone(x), recognizer(x)) }
        add("\(name) raw", expected.raw.compare(raw))
        add("\(name) embedding", expected.embedding.compare(embedding))
        guard let cosine = expected.cosine else { return }
        let rows = embedding.scalars
        let half = rows.count / 2
        let got = zip(rows[..<half], rows[half...]).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        add(
            "\(name) cosine", .worst(of: [("cosine", got, cosine)], scale: 1),
            conditioning: conditioning["\(name) embedding"])
    }

    private mutating func add(_ what: String, _ comparison: Comparison, conditioning: Double? = nil) {
        let conditioning = conditioning ?? self.conditioning[what] ?? 0
        findings.append(Finding(what: what, comparison: comparison, conditioning: conditioning))
    }

    private func images(_ input: [Int], salt: String) -> Tensor {
        ReferenceFill.images(input[0], input[2], input[3], salt: salt)
    }
}

extension GoldenFile {
    /// The recognizer of seven classes whose numbers the file holds.
    ///
    /// - Parameter model: the model, if it is not one of the registry's.
    public func makeRecognizer(model: Module? = nil) throws -> Recognizer {
        let recognizer = try Recognizer(
            model: model ?? ModelRegistry.makeModel(self.model), named: self.model, numClasses: 7)
        try ReferenceFill.fill(recognizer, rows: state, prefix: "backbone.", salt: salt)
        let weight = recognizer.parameter("classifier.weight")
        let a = (4.5 / Float(features)).squareRoot()
        weight.data = Tensor(
            ReferenceFill.values(weight.count, key: "classifier.weight", salt: salt, a: a, b: 0), shape: weight.shape)
        return recognizer
    }
}

extension Module {
    /// The parameter of a key.
    public func parameter(_ key: String) -> Parameter {
        guard let found = namedParameters().first(where: { $0.key == key }) else {
            preconditionFailure("no parameter \(key) in \(typeName)")
        }
        return found.parameter
    }

    /// Turns off what draws random numbers in training.
    public func disableRandomness() {
        for module in modules {
            (module as? Dropout)?.p = 0
            (module as? StochasticDepth)?.p = 0
        }
    }

    /// Sets the running statistics of every batch norm to those of one training-mode pass.
    public func calibrate(_ images: Tensor) {
        let norms = modules.compactMap { $0 as? BatchNorm2d }
        let momenta = norms.map(\.momentum)
        for norm in norms { norm.momentum = 1 }
        train()
        _ = GradientMode.disabled { self(images) }
        eval()
        for (norm, momentum) in zip(norms, momenta) { norm.momentum = momentum }
    }
}
