import Layers

extension Module {
    /// Puts GeM pooling in the place of the average pooling that ends this model's features: its last
    /// `AdaptiveAvgPool2d`, or a `GeMPool2d` of another exponent that is there already.
    ///
    /// - Parameters:
    ///   - p: the exponent; 3 in the paper.
    ///   - name: what the error calls the model; `nil`: its type.
    /// - Throws: ``DescriptorError`` for a model that pools to more than one value per channel, or without a module for
    ///   it.
    /// - Precondition: `p` is one of `GeMPool2d.exponents`.
    public func setGeMPooling(p: Float = 3, named name: String? = nil) throws(DescriptorError) {
        func failure(_ reason: String) -> DescriptorError { .noAveragePool(model: name ?? typeName, reason: reason) }
        guard let (path, pool) = lastPooling else {
            throw failure("it does not average its features by a module of its own behind the last convolution")
        }
        if let average = pool as? AdaptiveAvgPool2d, (average.outputSize.height, average.outputSize.width) != (1, 1) {
            throw failure("it pools to \(average.outputSize.height) x \(average.outputSize.width) values per channel")
        }
        if let gem = pool as? GeMPool2d, gem.p == p { return }
        let gem = GeMPool2d(p: p)
        // In the mode of the model around it: one module in training mode would keep the model from running as a plan.
        gem.train(pool.isTraining)
        do {
            try setModule(at: path, to: gem)
        } catch {
            throw failure("\(error)")
        }
    }

    /// The exponent of the GeM pooling that ends this model's features; `nil` where there is none.
    var gemExponent: Float? { (lastPooling?.pool as? GeMPool2d)?.p }

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
