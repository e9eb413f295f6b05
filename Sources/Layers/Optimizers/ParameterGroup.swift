/// Parameters that an optimizer treats alike.
public struct ParameterGroup {
    /// What messages and logs call the group.
    public var name: String
    /// The parameters with their keys in the model's state dict; the optimizer's own state goes by these.
    public var parameters: [(key: String, parameter: Parameter)]
    public var learningRate: Double
    /// How strongly the optimizer pulls the parameters to zero, in each optimizer's own way.
    public var weightDecay: Double

    public init(
        name: String, parameters: [(key: String, parameter: Parameter)], learningRate: Double, weightDecay: Double = 0
    ) {
        precondition(learningRate >= 0, "ParameterGroup: learning rate \(learningRate)")
        precondition(weightDecay >= 0, "ParameterGroup: weight decay \(weightDecay)")
        self.name = name
        self.parameters = parameters
        self.learningRate = learningRate
        self.weightDecay = weightDecay
    }
}

/// The parameters of a module in groups: the head's may have a learning rate of their own, and norms and biases may be
/// kept from weight decay. Groups without parameters are left out; frozen parameters come too, and are skipped by
/// optimizers while they have no gradient.
///
/// - Parameters:
///   - module: a recognizer, or any module.
///   - headPrefix: the path of the head, in whole components.
///   - headLearningRateFactor: the head's learning rate over that of the others.
///   - decaysNormsAndBiases: whether parameters with one axis, which are norms' and biases, decay too, as with one
///     group in PyTorch. "Bag of Tricks for Image Classification", arXiv 1812.01187, leaves them out.
/// - Returns: the groups `backbone`, `backbone, no decay`, `head` and `head, no decay`.
public func parameterGroups(
    of module: Module, learningRate: Double, weightDecay: Double = 0, headPrefix: String = "classifier",
    headLearningRateFactor: Double = 1, decaysNormsAndBiases: Bool = true
) -> [ParameterGroup] {
    let all = module.namedParameters()
    return [false, true].flatMap { isHead in
        [true, false].compactMap { decays in
            let parameters = all.filter { key, parameter in
                key.isBelow(path: headPrefix) == isHead
                    && (decaysNormsAndBiases || parameter.shape.count > 1) == decays
            }
            guard !parameters.isEmpty else { return nil }
            return ParameterGroup(
                name: (isHead ? "head" : "backbone") + (decays ? "" : ", no decay"), parameters: parameters,
                learningRate: learningRate * (isHead ? headLearningRateFactor : 1),
                weightDecay: decays ? weightDecay : 0)
        }
    }
}

extension String {
    /// Whether this key is a path, or lies below it, in whole components: `layer1.0.weight` below `layer1`, not
    /// `layer`.
    func isBelow(path: String) -> Bool { self == path || hasPrefix(path + ".") }
}
