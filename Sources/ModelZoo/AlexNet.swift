// AlexNet: One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997 (the one-tower variant of
// the 2012 network). As torchvision's models/alexnet.py; the parameters start as PyTorch's layers do.
import Layers
import Tensors

/// AlexNet: `[N, H, W, 3]` to `[N, classes]`.
public final class AlexNet: Module {
    @Child public var features: Module
    @Child public var avgpool: Module
    @Child public var classifier: Module

    public init(numClasses: Int = 1000) {
        features = Sequential(
            Conv2d(3, 64, kernelSize: 11, stride: 4, padding: 2),
            ReLU(),
            MaxPool2d(kernelSize: 3, stride: 2),
            Conv2d(64, 192, kernelSize: 5, padding: 2),
            ReLU(),
            MaxPool2d(kernelSize: 3, stride: 2),
            Conv2d(192, 384, kernelSize: 3, padding: 1),
            ReLU(),
            Conv2d(384, 256, kernelSize: 3, padding: 1),
            ReLU(),
            Conv2d(256, 256, kernelSize: 3, padding: 1),
            ReLU(),
            MaxPool2d(kernelSize: 3, stride: 2))
        avgpool = AdaptiveAvgPool2d(6)
        classifier = Sequential(
            Dropout(p: 0.5),
            Linear(256 * 6 * 6, 4096),
            ReLU(),
            Dropout(p: 0.5),
            Linear(4096, 4096),
            ReLU(),
            Linear(4096, numClasses))
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        classifier(avgpool(features(x)).flattenedChannelsFirst())
    }
}

extension AlexNet {
    static let registry = [
        ModelRegistry.Entry(name: "alexnet", inputSize: 224) { AlexNet(numClasses: $0) }
    ]
}
