import Layers
import ModelZoo
import Tensors
import Weights

/// A backbone that turns images into embeddings and, for training, a classifier over them.
///
/// In training mode a recognizer returns logits `[N, classes]`; with `normalize`, of unit-norm embeddings against
/// unit-norm class weights, so that they are cosines. In evaluation mode it returns the embeddings `[N, D]`, of norm 1
/// with `normalize`, which compare by dot product. Without classes it returns embeddings in both modes.
///
/// The reference's `recognite.model.Recognizer`.
public final class Recognizer: Module {
    /// The model without its last fully-connected layer: `[N, H, W, 3]` to `[N, D]`.
    @Child public var backbone: Module
    /// The fully-connected layer over the embeddings; `nil` without classes.
    @Child public var classifier: Module?
    /// The layer of `classifier` whose weights are normalized; the reference registers it under this name too.
    @Child private var ultimate: Linear?

    /// The architecture's name.
    public let modelName: String
    /// Whether embeddings and class weights are scaled to norm 1.
    public let normalizes: Bool
    /// The number of features of an embedding.
    public let embeddingSize: Int
    /// Where the original model has its classifier.
    let classifierPath: [String]
    /// The pooling that the backbone had before a descriptor put GeM pooling in its place; `nil`: none did.
    var ownPooling: Module?

    /// A recognizer over one of ``supportedModels``.
    ///
    /// - Parameters:
    ///   - modelName: the architecture, by torchvision's name.
    ///   - numClasses: the number of classes to train with; `nil`: no classifier.
    ///   - weights: pretrained weights to start from, an entry of the catalogue or a file; `nil`: random ones, see
    ///     `withRandomSeed`.
    ///   - clfBias: whether the classifier has a bias; beside normalized weights it can worsen the result.
    ///   - normalize: whether embeddings and class weights are scaled to norm 1.
    ///   - imageSize: the side of the images for `vit_*` and `maxvit_t`, in pixels; `nil`: that of the weights, or 224.
    ///     A Vision Transformer's position embedding is resized for it. All others take any size.
    ///   - transformInput: see ``load(_:transformInput:from:)``.
    ///   - store: where entries of the catalogue are looked for and downloaded to.
    /// - Throws: `UnknownModelError`, ``ImageSizeError``; the weights' errors.
    public convenience init(
        _ modelName: String, numClasses: Int? = nil, weights: PretrainedWeights? = nil, clfBias: Bool = false,
        normalize: Bool = true, imageSize: Int? = nil, transformInput: Bool? = nil, from store: WeightStore? = nil
    ) throws {
        let loaded = try weights.map { try LoadedWeights($0, for: modelName, store: store ?? WeightStore()) }
        let state = loaded?.recognizerState
        let model: Module
        if let loaded, let state {
            model = try loaded.makeModel(modelName, for: state.model, imageSize: imageSize)
        } else {
            model = try makeBlankModel(modelName, imageSize: imageSize)
        }
        try self.init(model: model, named: modelName, numClasses: numClasses, clfBias: clfBias, normalize: normalize)
        if let loaded, let state {
            try load(loaded, state, transformInput: transformInput)
        } else if let transformInput, let family = backbone as? any InputTransforming {
            family.transformInput = transformInput
        }
    }

    /// A recognizer over any model that ends with a fully-connected layer; the model becomes its backbone.
    ///
    /// - Parameter name: what messages call the model; `nil`: its type.
    /// - Throws: ``ClassifierError`` for a model with another end.
    public init(
        model: Module, named name: String? = nil, numClasses: Int? = nil, clfBias: Bool = false, normalize: Bool = true
    ) throws {
        classifierPath = try model.pathToUltimateClassifier()
        embeddingSize = try model.ultimateClassifier().inFeatures
        if let numClasses {
            precondition(numClasses > 0, "Recognizer: \(numClasses) classes")
            try model.updateClassifier(numClasses: numClasses, bias: clfBias)
        }
        let (backbone, classifier) = try model.splitBackboneClassifier()
        self.modelName = name ?? model.typeName
        self.normalizes = normalize
        self.backbone = backbone
        self.classifier = numClasses == nil ? nil : classifier
        _ultimate = Child(wrappedValue: numClasses == nil ? nil : classifier, key: "_ult_clf")
        super.init()
    }

    public override func forward(_ x: Tensor) -> Tensor {
        if isTraining, normalizes, let ultimate, Trace.current == nil {
            ultimate.weight.data = GradientMode.disabled { ultimate.weight.data / ultimate.weight.data.norm() }
        }
        let raw = backbone(x)
        let embeddings = normalizes ? raw / raw.norm() : raw
        guard isTraining, let classifier else { return embeddings }
        return classifier(embeddings)
    }
}
