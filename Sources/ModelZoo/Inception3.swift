// Inception v3: Rethinking the Inception Architecture for Computer Vision, arXiv 1512.00567. As torchvision's
// models/inception.py. There the auxiliary head's last convolution is marked to start with a standard deviation of
// 0.01, but the mark sits on the block around it, where the initialization does not look: it starts with 0.1.
import Layers
import Tensors

/// Inception v3: `[N, H, W, 3]`, made for 299 x 299 pixels, to `[N, classes]`.
///
/// In training mode the auxiliary head runs too, if there is one: its batch norms follow the data, as in torchvision,
/// though `model(x)` returns the main logits alone. ``outputs(_:)`` returns both.
public final class Inception3: Module {
    /// The logits `[N, classes]` of the classifier and, in training mode, of the auxiliary head.
    public struct Outputs {
        public let logits: Tensor
        public let auxLogits: Tensor?
    }

    /// Whether the images, normalized with ImageNet's statistics, are normalized with 0.5 and 0.5 first: the pretrained
    /// weights expect that.
    public var transformInput = false {
        didSet { invalidatePlans() }
    }

    @Child public var Conv2d_1a_3x3: Module
    @Child public var Conv2d_2a_3x3: Module
    @Child public var Conv2d_2b_3x3: Module
    @Child public var maxpool1: Module
    @Child public var Conv2d_3b_1x1: Module
    @Child public var Conv2d_4a_3x3: Module
    @Child public var maxpool2: Module
    @Child public var Mixed_5b: Module
    @Child public var Mixed_5c: Module
    @Child public var Mixed_5d: Module
    @Child public var Mixed_6a: Module
    @Child public var Mixed_6b: Module
    @Child public var Mixed_6c: Module
    @Child public var Mixed_6d: Module
    @Child public var Mixed_6e: Module
    /// The auxiliary head behind `Mixed_6e`; `nil` removes it.
    @Child public var AuxLogits: Module?
    @Child public var Mixed_7a: Module
    @Child public var Mixed_7b: Module
    @Child public var Mixed_7c: Module
    @Child public var avgpool: Module
    @Child public var dropout: Module
    @Child public var fc: Module

    public init(numClasses: Int = 1000, hasAuxiliaryHead: Bool = true) {
        Conv2d_1a_3x3 = BasicConv2d(3, 32, kernelSize: 3, stride: 2)
        Conv2d_2a_3x3 = BasicConv2d(32, 32, kernelSize: 3)
        Conv2d_2b_3x3 = BasicConv2d(32, 64, kernelSize: 3, padding: 1)
        maxpool1 = MaxPool2d(kernelSize: 3, stride: 2)
        Conv2d_3b_1x1 = BasicConv2d(64, 80, kernelSize: 1)
        Conv2d_4a_3x3 = BasicConv2d(80, 192, kernelSize: 3)
        maxpool2 = MaxPool2d(kernelSize: 3, stride: 2)
        Mixed_5b = InceptionA(192, poolFeatures: 32)
        Mixed_5c = InceptionA(256, poolFeatures: 64)
        Mixed_5d = InceptionA(288, poolFeatures: 64)
        Mixed_6a = InceptionB(288)
        Mixed_6b = InceptionC(768, channels7x7: 128)
        Mixed_6c = InceptionC(768, channels7x7: 160)
        Mixed_6d = InceptionC(768, channels7x7: 160)
        Mixed_6e = InceptionC(768, channels7x7: 192)
        let head = hasAuxiliaryHead ? InceptionAux(768, numClasses) : nil
        AuxLogits = head
        Mixed_7a = InceptionD(768)
        Mixed_7b = InceptionE(1280)
        Mixed_7c = InceptionE(2048)
        avgpool = AdaptiveAvgPool2d(1)
        dropout = Dropout(p: 0.5)
        fc = Linear(2048, numClasses)
        super.init()
        let recipe = LayerRecipe(weight: .truncatedNormal(std: 0.1))
        initialize(convolutions: recipe, linears: recipe)
        head?.fc.initialize(
            convolutions: LayerRecipe(), linears: LayerRecipe(weight: .truncatedNormal(std: 0.001)))
    }

    public override func forward(_ x: Tensor) -> Tensor { outputs(x).logits }

    /// The logits of the classifier and, in training mode, of the auxiliary head. Sizes in the comments are those for
    /// 299 x 299 pixels.
    public func outputs(_ x: Tensor) -> Outputs {
        var x = transformInput ? x.renormalizedToHalf() : x
        x = Conv2d_2b_3x3(Conv2d_2a_3x3(Conv2d_1a_3x3(x)))  // 147 x 147 x 64
        x = Conv2d_4a_3x3(Conv2d_3b_1x1(maxpool1(x)))  // 71 x 71 x 192
        x = Mixed_5d(Mixed_5c(Mixed_5b(maxpool2(x))))  // 35 x 35 x 288
        x = Mixed_6e(Mixed_6d(Mixed_6c(Mixed_6b(Mixed_6a(x)))))  // 17 x 17 x 768
        let auxLogits = isTraining ? AuxLogits?(x) : nil
        x = Mixed_7c(Mixed_7b(Mixed_7a(x)))  // 8 x 8 x 2048
        let logits = fc(dropout(avgpool(x)).flattenedChannelsFirst())
        return Outputs(logits: logits, auxLogits: auxLogits)
    }
}

/// A classifier in the middle of the network: `[N, H, W, C]` to `[N, classes]`.
private final class InceptionAux: Module {
    @Child var conv0: Module
    @Child var conv1: Module
    @Child var fc: Module

    init(_ inChannels: Int, _ numClasses: Int) {
        conv0 = BasicConv2d(inChannels, 128, kernelSize: 1)
        conv1 = BasicConv2d(128, 768, kernelSize: 5)
        fc = Linear(768, numClasses)
        super.init()
    }

    override func forward(_ x: Tensor) -> Tensor {
        fc(conv1(conv0(x.avgPool2d(Pool2dGeometry(kernel: 5, stride: 3)))).globalAveragePool())
    }
}

extension Inception3 {
    /// The head itself where a file's last layer fits it, a new one where it does not, none without a file's.
    static func head(_ head: Module?, like entry: StateDict.Entry?) -> Module? {
        guard let entry else { return nil }
        guard let classes = entry.shape.first, classes > 0 else { return head }
        return ((head as? InceptionAux)?.fc as? Linear)?.outFeatures == classes ? head : InceptionAux(768, classes)
    }

    static let registry = [
        ModelRegistry.Entry(name: "inception_v3", inputSize: 299) { Inception3(numClasses: $0) }
    ]
}
