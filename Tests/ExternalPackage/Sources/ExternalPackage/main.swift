import Recognite

/// Ends the process with a message if something does not hold.
func check(_ condition: Bool, _ message: String) {
    if !condition { fatalError("failed: \(message)") }
}

/// A module of the user's own, in a network of the zoo.
final class Doubled: Module {
    @Child var inner: Module

    init(_ inner: Module) {
        self.inner = inner
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor { inner(x) * 2 }
}

let recognizer = try withRandomSeed(1) { try Recognizer("mobilenet_v2", numClasses: 3) }
let path = ["backbone", "features", "0", "2"]
try recognizer.setModule(at: path, to: Doubled(recognizer.module(at: path)))
check(try recognizer.module(at: path) is Doubled, "the module at the path is the new one")

var source = RandomSource(seed: 2)
let images = Tensor(shape: [6, 64, 64, 3]) { pixels in
    for index in pixels.indices { pixels[index] = Float(source.normal()) }
}
let labels = [0, 1, 2, 0, 1, 2]

// One step of gradient descent must lower the loss on its own batch.
for module in recognizer.modules { (module as? Dropout)?.p = 0 }
let before = recognizer(images).crossEntropy(labels)
before.backward()
for parameter in recognizer.parameters() {
    guard let gradient = parameter.gradient else { fatalError("failed: a parameter without gradient") }
    parameter.data = parameter.data - gradient * 0.001
}
recognizer.zeroGradients()
let after = recognizer(images).crossEntropy(labels)
check(after.scalar < before.scalar, "a step lowers the loss: \(before.scalar) to \(after.scalar)")

recognizer.eval()
let embeddings = GradientMode.disabled { recognizer(images) }
check(embeddings.shape == [6, recognizer.embeddingSize], "the shape of the embeddings")
check(embeddings.norm().scalars.allSatisfy { abs($0 - 1) < 1e-5 }, "embeddings have norm 1")
print("external package: ok (loss \(before.scalar) to \(after.scalar) in one step)")
