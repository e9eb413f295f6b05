import Layers
import ModelZoo

extension Module {
    /// Puts GeM pooling in the place of the average pooling that ends this model's features: its last
    /// `AdaptiveAvgPool2d`, the mean within the `forward` of a `FunctionalPooling` family, or a `GeMPool2d` of another
    /// exponent that is there already.
    ///
    /// - Parameters:
    ///   - p: the exponent; 3 in the paper.
    ///   - name: what the error calls the model; `nil`: its type.
    /// - Throws: ``DescriptorError`` for a model that does not pool its features to one value per channel (AlexNet, VGG
    ///   and the Vision Transformer), or whose pooling is not known.
    /// - Precondition: `p` is one of `GeMPool2d.exponents`.
    public func setGeMPooling(p: Float = 3, named name: String? = nil) throws(DescriptorError) {
        guard gemExponent != p else { return }
        try replacePooling(with: GeMPool2d(p: p), named: name)
    }

    /// Puts a `GeMPool2d`, or an `AdaptiveAvgPool2d` to one value, in the place of the pooling that ends this model's
    /// features.
    ///
    /// - Parameter name: what the error calls the model; `nil`: its type.
    /// - Returns: the pooling that was there.
    /// - Throws: as ``setGeMPooling(p:named:)``.
    @discardableResult
    func replacePooling(with pool: Module, named name: String?) throws(DescriptorError) -> Module {
        func failure(_ reason: String) -> DescriptorError { .noAveragePool(model: name ?? typeName, reason: reason) }
        if let family = self as? any FunctionalPooling {
            defer { family.gemPooling = pool as? GeMPool2d }
            return family.gemPooling ?? AdaptiveAvgPool2d(1)
        }
        if self is VisionTransformer { throw failure("it takes its class token for an embedding and pools nothing") }
        guard let (path, old) = lastPooling else {
            throw failure("it does not average its features by a module of its own behind the last convolution")
        }
        if let average = old as? AdaptiveAvgPool2d, (average.outputSize.height, average.outputSize.width) != (1, 1) {
            throw failure(
                "it pools to a grid of \(average.outputSize.height) x \(average.outputSize.width) values per channel, "
                    + "not to one")
        }
        // In the mode of the model around it: one module in training mode would keep the model from running as a plan.
        pool.train(old.isTraining)
        do {
            try setModule(at: path, to: pool)
        } catch {
            throw failure("\(error)")
        }
        return old
    }

    /// The exponent of the GeM pooling that ends this model's features; `nil` where there is none.
    var gemExponent: Float? {
        if let family = self as? any FunctionalPooling { return family.gemPooling?.p }
        return (lastPooling?.pool as? GeMPool2d)?.p
    }

    /// The last pooling over all pixels and its path, if no convolution is declared behind it: that would be one within
    /// a block, as in squeeze and excitation.
    private var lastPooling: (path: [String], pool: Module)? {
        for (path, module) in namedModules.reversed() where !path.isEmpty {
            if module is Conv2d { return nil }
            if module is AdaptiveAvgPool2d || module is GeMPool2d { return (path, module) }
        }
        return nil
    }
}
