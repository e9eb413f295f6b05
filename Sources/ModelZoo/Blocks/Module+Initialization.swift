import Layers

/// The first values of a kind of layer; `nil` leaves the layer's own, which are PyTorch's.
struct LayerRecipe {
    var weight: Initializer?
    var bias: Initializer?
}

extension Module {
    /// Draws new first values for every convolution and every fully-connected layer of this module and all below it.
    func initialize(convolutions: LayerRecipe, linears: LayerRecipe) {
        for module in modules {
            switch module {
            case let convolution as Conv2d: convolutions.apply(to: convolution.weight, convolution.bias)
            case let linear as Linear: linears.apply(to: linear.weight, linear.bias)
            default: break
            }
        }
    }
}

extension LayerRecipe {
    func apply(to weight: Parameter, _ bias: Parameter?) {
        if let recipe = self.weight { weight.initialize(recipe) }
        if let recipe = self.bias { bias?.initialize(recipe) }
    }
}
