import Layers

/// A model whose last layer is no fully-connected layer.
public struct ClassifierError: Error, CustomStringConvertible {
    /// The type of the model.
    public let model: String
    public var description: String {
        "cannot find a final fully-connected layer in the model (\(model)): use a model whose last child is a Linear, "
            + "or a Sequential that ends with one"
    }
}

extension Module {
    /// The path to the ultimate classifier: the last child, if it is a `Linear`; if it is a `Sequential`, its last
    /// child, if that is a `Linear`. A `Linear` itself has the empty path.
    ///
    /// The reference's `get_path_to_ultimate_classifier`.
    public func pathToUltimateClassifier() throws -> [String] {
        guard let last = namedChildren.last else {
            if self is Linear { return [] }
            throw ClassifierError(model: typeName)
        }
        if last.module is Linear { return [last.name] }
        if last.module is Sequential, let inner = last.module.namedChildren.last, inner.module is Linear {
            return [last.name, inner.name]
        }
        throw ClassifierError(model: typeName)
    }

    /// The last fully-connected layer. The reference's `get_ultimate_classifier`.
    public func ultimateClassifier() throws -> Linear {
        guard let linear = try module(at: pathToUltimateClassifier()) as? Linear else {
            throw ClassifierError(model: typeName)
        }
        return linear
    }

    /// Replaces the ultimate classifier by a new `Linear` with `numClasses` outputs and the same input features. The
    /// reference's `update_classifier`.
    ///
    /// - Parameter bias: whether the new classifier has a bias.
    public func updateClassifier(numClasses: Int, bias: Bool = false) throws {
        let path = try pathToUltimateClassifier()
        let old = try ultimateClassifier()
        let classifier = Linear(old.inFeatures, numClasses, bias: bias)
        classifier.train(old.isTraining)
        try setModule(at: path, to: classifier)
    }

    /// Puts an `Identity` in the ultimate classifier's place. The reference's `split_backbone_classifier`.
    ///
    /// - Returns: this model, which now computes embeddings, and the classifier that it had.
    public func splitBackboneClassifier() throws -> (backbone: Module, classifier: Linear) {
        let path = try pathToUltimateClassifier()
        let classifier = try ultimateClassifier()
        // In the mode of the model around it: one module in training mode would keep the model from running as a plan.
        let identity = Identity()
        identity.train(classifier.isTraining)
        try setModule(at: path, to: identity)
        return (self, classifier)
    }
}
