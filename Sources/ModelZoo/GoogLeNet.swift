// GoogLeNet (Inception v1): Going Deeper with Convolutions, arXiv 1409.4842. As torchvision's models/googlenet.py: with
// batch norm, and with 3 x 3 convolutions in the branches that the paper gives 5 x 5 ones.
import Layers
import Tensors

/// GoogLeNet: `[N, H, W, 3]` to `[N, classes]`.
///
/// In training mode the auxiliary heads run too, if there are any: their batch norms follow the data and their dropout
/// draws, as in torchvision, though `model(x)` returns the main logits alone. ``outputs(_:)`` returns all.
public final class GoogLeNet: Module {
    /// The logits `[N, classes]` of the classifier and, in training mode, of the auxiliary heads.
    public struct Outputs {
        public let logits: Tensor
        public let auxLogits2: Tensor?
        public let auxLogits1: Tensor?
    }

    /// Whether the images, normalized with ImageNet's statistics, are normalized with 0.5 and 0.5 first: the pretrained
    /// weights expect that.
    public var transformInput = false {
        didSet { invalidatePlans() }
    }

    @Child public var conv1: Module
    @Child public var maxpool1: Module
    @Child public var conv2: Module
    @Child public var conv3: Module
    @Child public var maxpool2: Module
    @Child public var inception3a: Module
    @Child public var inception3b: Module
    @Child public var maxpool3: Module
    @Child public var inception4a: Module
    @Child public var inception4b: Module
    @Child public var inception4c: Module
    @Child public var inception4d: Module
    @Child public var inception4e: Module
    @Child public var maxpool4: Module
    @Child public var inception5a: Module
    @Child public var inception5b: Module
    /// The auxiliary head behind `inception4a`; `nil` removes it.
    @Child public var aux1: Module?
    /// The auxiliary head behind `inception4d`; `nil` removes it.
    @Child public var aux2: Module?
    @Child public var avgpool: Module
    @Child public var dropout: Module
    @Child public var fc: Module

    public init(numClasses: Int = 1000, hasAuxiliaryHeads: Bool = true) {
        conv1 = BasicConv2d(3, 64, kernelSize: 7, stride: 2, padding: 3)
        maxpool1 = MaxPool2d(kernelSize: 3, stride: 2, ceilMode: true)
        conv2 = BasicConv2d(64, 64, kernelSize: 1)
        conv3 = BasicConv2d(64, 192, kernelSize: 3, padding: 1)
        maxpool2 = MaxPool2d(kernelSize: 3, stride: 2, ceilMode: true)
        inception3a = Inception(192, pointwise: 64, small: (96, 128), large: (16, 32), pooled: 32)
        inception3b = Inception(256, pointwise: 128, small: (128, 192), large: (32, 96), pooled: 64)
        maxpool3 = MaxPool2d(kernelSize: 3, stride: 2, ceilMode: true)
        inception4a = Inception(480, pointwise: 192, small: (96, 208), large: (16, 48), pooled: 64)
        inception4b = Inception(512, pointwise: 160, small: (112, 224), large: (24, 64), pooled: 64)
        inception4c = Inception(512, pointwise: 128, small: (128, 256), large: (24, 64), pooled: 64)
        inception4d = Inception(512, pointwise: 112, small: (144, 288), large: (32, 64), pooled: 64)
        inception4e = Inception(528, pointwise: 256, small: (160, 320), large: (32, 128), pooled: 128)
        maxpool4 = MaxPool2d(kernelSize: 2, stride: 2, ceilMode: true)
        inception5a = Inception(832, pointwise: 256, small: (160, 320), large: (32, 128), pooled: 128)
        inception5b = Inception(832, pointwise: 384, small: (192, 384), large: (48, 128), pooled: 128)
        aux1 = hasAuxiliaryHeads ? InceptionAux(512, numClasses) : nil
        aux2 = hasAuxiliaryHeads ? InceptionAux(528, numClasses) : nil
        avgpool = AdaptiveAvgPool2d(1)
        dropout = Dropout(p: 0.2)
        fc = Linear(1024, numClasses)
        super.init()
        let recipe = LayerRecipe(weight: .truncatedNormal(std: 0.01))
        initialize(convolutions: recipe, linears: recipe)
    }

    public override func forward(_ x: Tensor) -> Tensor { outputs(x).logits }

    /// The logits of the classifier and, in training mode, of the auxiliary heads.
    public func outputs(_ x: Tensor) -> Outputs {
        let stem = conv1(transformInput ? x.renormalizedToHalf() : x)
        let stage3 = inception3b(inception3a(maxpool2(conv3(conv2(maxpool1(stem))))))
        let behind4a = inception4a(maxpool3(stage3))
        let auxLogits1 = isTraining ? aux1?(behind4a) : nil
        let behind4d = inception4d(inception4c(inception4b(behind4a)))
        let auxLogits2 = isTraining ? aux2?(behind4d) : nil
        let stage5 = inception5b(inception5a(maxpool4(inception4e(behind4d))))
        let logits = fc(dropout(avgpool(stage5).flattenedChannelsFirst()))
        return Outputs(logits: logits, auxLogits2: auxLogits2, auxLogits1: auxLogits1)
    }
}

/// Four branches side by side: `[N, H, W, C]` to `[N, H, W, pointwise + small.1 + large.1 + pooled]`.
private final class Inception: Module {
    @Child var branch1: Module
    @Child var branch2: Module
    @Child var branch3: Module
    @Child var branch4: Module

    /// - Parameters:
    ///   - pointwise: channels of the 1 x 1 branch.
    ///   - small: reduced and output channels of the 3 x 3 branch.
    ///   - large: the same of the paper's 5 x 5 branch.
    ///   - pooled: channels of the branch behind a max pool.
    init(_ inChannels: Int, pointwise: Int, small: (Int, Int), large: (Int, Int), pooled: Int) {
        branch1 = BasicConv2d(inChannels, pointwise, kernelSize: 1)
        branch2 = Sequential(
            BasicConv2d(inChannels, small.0, kernelSize: 1),
            BasicConv2d(small.0, small.1, kernelSize: 3, padding: 1))
        branch3 = Sequential(
            BasicConv2d(inChannels, large.0, kernelSize: 1),
            BasicConv2d(large.0, large.1, kernelSize: 3, padding: 1))
        branch4 = Sequential(
            MaxPool2d(kernelSize: 3, stride: 1, padding: 1, ceilMode: true),
            BasicConv2d(inChannels, pooled, kernelSize: 1))
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        .concatenatedChannels(branch1(x), branch2(x), branch3(x), branch4(x))
    }
}

/// A classifier in the middle of the network: `[N, H, W, C]` to `[N, classes]`.
private final class InceptionAux: Module {
    @Child var conv: Module
    @Child var fc1: Module
    @Child var fc2: Module
    @Child var dropout: Module

    init(_ inChannels: Int, _ numClasses: Int) {
        conv = BasicConv2d(inChannels, 128, kernelSize: 1)
        fc1 = Linear(128 * 4 * 4, 1024)
        fc2 = Linear(1024, numClasses)
        dropout = Dropout(p: 0.7)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        let pooled = conv(x.adaptiveAvgPool2d(height: 4, width: 4)).flattenedChannelsFirst()
        return fc2(dropout(fc1(pooled).activated(.relu)))
    }
}

extension GoogLeNet {
    /// The head itself where a file's last layer fits it, a new one where it does not, none without a file's.
    static func head(_ head: Module?, inChannels: Int, like entry: StateDict.Entry?) -> Module? {
        guard let entry else { return nil }
        guard let classes = entry.shape.first, classes > 0 else { return head }
        let fits = ((head as? InceptionAux)?.fc2 as? Linear)?.outFeatures == classes
        return fits ? head : InceptionAux(inChannels, classes)
    }

    static let registry = [
        ModelRegistry.Entry(name: "googlenet", inputSize: 224) { GoogLeNet(numClasses: $0) }
    ]
}
