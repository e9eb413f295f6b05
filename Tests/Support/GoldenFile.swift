import Tensors

/// The reference numbers of one model, as `make_golden.py` writes them.
public struct GoldenFile: Decodable, Sendable {
    /// A state dict's entry and its fill `a s(i) + b`; `a` and `b` are `nil` for what is not filled.
    public struct StateRow: Decodable, Sendable {
        public let key: String
        public let shape: [Int]
        public let a: Float?
        public let b: Float?

        public init(from decoder: any Decoder) throws {
            var row = try decoder.unkeyedContainer()
            key = try row.decode(String.self)
            shape = try row.decode([Int].self)
            a = try row.decodeIfPresent(Float.self)
            b = try row.decodeIfPresent(Float.self)
        }
    }

    public struct Evaluation: Decodable, Sendable {
        /// `[N, 3, H, W]`.
        public let input: [Int]
        public let raw: Probe
        public let embedding: Probe
        public let cosine: Double?
    }

    public struct Training: Decodable, Sendable {
        public let input: [Int]
        public let logits: Probe
        public let loss: Double?
        public let gradients: [String: Probe]?
        public let without_gradient: [String]?
        public let running: [String: Probe]
    }

    public let model: String
    public let salt: String
    public let parameters: Int
    public let path: [String]
    public let features: Int
    public let state: [StateRow]
    public let eval: Evaluation
    public let train: Training
    public let calibrated: Evaluation
}

/// Some elements of a tensor: `index` into its row-major elements in PyTorch's shape.
public struct Probe: Decodable, Sendable {
    public let shape: [Int]
    public let mean: Double
    public let norm: Double
    public let index: [Int]
    public let value: [Double]

    /// The root mean square of the reference tensor.
    public var scale: Double { norm / Double(max(1, shape.reduce(1, *))).squareRoot() }

    /// How a tensor in PyTorch's shape compares with this one.
    public func compare(_ tensor: Tensor) -> Comparison {
        guard tensor.shape == shape else {
            return Comparison(worst: .infinity, message: "shape \(tensor.shape), expected \(shape)")
        }
        let scalars = tensor.scalars
        let norm = scalars.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        var pairs = zip(index, value).map { (name: "element \($0)", got: Double(scalars[$0]), expected: $1) }
        pairs.append(("norm / sqrt(count)", norm / Double(max(1, scalars.count)).squareRoot(), scale))
        let mean = scalars.reduce(0.0) { $0 + Double($1) } / Double(max(1, scalars.count))
        pairs.append(("mean", mean, self.mean))
        return Comparison.worst(of: pairs, scale: scale)
    }
}

/// How numbers compare with a reference.
public struct Comparison: Sendable {
    /// The largest error over its tolerance: above 1 the numbers disagree.
    public let worst: Double
    /// The largest error over the reference's root mean square.
    public var relativeError = Double.infinity
    /// The root mean square of the errors over the reference's.
    public var rmsError = Double.infinity
    public let message: String

    /// Whether every number is within its tolerance; or, where PyTorch's own float32 is off by `conditioning` (root
    /// mean square, see `Tools/measure_conditioning.py`), all are off by four times that at most. Less than 1e-4 counts as
    /// that much: whether a unit switches off depends on the instruction set.
    public func isClose(conditioning: Double = 0) -> Bool {
        worst <= 1 || (conditioning > 0 && rmsError <= 4 * max(1e-4, conditioning))
    }

    static func worst(
        of pairs: [(name: String, got: Double, expected: Double)], scale: Double, absolute: Double = 1e-4,
        relative: Double = 1e-3
    ) -> Comparison {
        var (worst, largest, squares, message) = (0.0, 0.0, 0.0, "equal")
        for (name, got, expected) in pairs {
            // A comparison with NaN is false either way: it must count as the worst.
            let error = (got - expected).isNaN ? .infinity : abs(got - expected)
            let ratio = error / (absolute * scale + relative * abs(expected) + .leastNormalMagnitude)
            largest = max(largest, error / scale)
            squares += error * error / (scale * scale)
            guard ratio > worst else { continue }
            worst = ratio
            message = "\(name): \(got), expected \(expected) (\(ratio) times the tolerance)"
        }
        return Comparison(
            worst: worst, relativeError: largest, rmsError: (squares / Double(max(1, pairs.count))).squareRoot(),
            message: message)
    }
}
