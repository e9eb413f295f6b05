import Layers

/// Linear, GELU, dropout, linear, dropout, named `0` to `4`: torchvision's `ops.misc.MLP` of two layers.
final class MLP: Sequential {
    init(_ features: Int, hidden: Int) {
        super.init([
            Linear(features, hidden), GELU(), Dropout(p: 0), Linear(hidden, features), Dropout(p: 0),
        ])
    }
}
