import Layers
import ModelZoo
import Weights

extension Recognizer {
    /// Loads weights of either kind: a bare classification model's (torchvision's keys), whose own classifier is left
    /// out because the recognizer's takes its place; or a recognizer's (`backbone.…`, `classifier.…`), whose classifier
    /// is left out where this recognizer has none. Prefixes that wrappers add (`module.`) are taken off, old keys
    /// renamed, a Vision Transformer's position embedding is resized for its images, and auxiliary heads come and go as
    /// the file has them (GoogLeNet's are dropped with published weights, as torchvision drops them).
    ///
    /// All other keys and shapes must agree; on an error nothing is changed.
    ///
    /// - Parameters:
    ///   - transformInput: for GoogLeNet and Inception v3, whether the model normalizes images anew, as torchvision's
    ///     published weights want it. A file does not tell: `nil` switches it on for entries of the catalogue and leaves
    ///     it as it is for files.
    ///   - store: where entries are looked for and downloaded to.
    /// - Throws: `UnknownWeightsError`, `WeightDownloadError`, `CheckpointError` for a file that cannot be read,
    ///   ``WeightsMismatchError`` with every key that does not fit.
    public func load(
        _ weights: PretrainedWeights, transformInput: Bool? = nil, from store: WeightStore = WeightStore()
    ) throws {
        let loaded = try LoadedWeights(weights, for: modelName, store: store)
        try load(loaded, loaded.recognizerState, transformInput: transformInput)
    }

    func load(_ loaded: LoadedWeights, _ state: RecognizerState, transformInput: Bool?) throws {
        let original = classifierPath.joined(separator: ".") + "."
        let bare = state.isRecognizers ? state.model : state.model.mapKeys { $0.hasPrefix(original) ? nil : $0 }
        do {
            try loaded.adapt(backbone, bare, transformInput: transformInput) { adapted in
                try load(stateDict: withClassifier(adapted.mapKeys { "backbone." + $0 }, state.classifier))
            }
        } catch let error as StateDictError {
            throw WeightsMismatchError(weights: loaded.name, model: modelName, reason: error)
        }
    }

    /// A backbone's state dict with the file's classifier or, where that has none, this recognizer's own.
    private func withClassifier(_ backbone: StateDict, _ filed: StateDict) -> StateDict {
        guard let classifier else { return backbone }
        var result = backbone
        if filed.count > 0 {
            for (key, entry) in filed { result[key] = entry }
        } else {
            for (key, entry) in classifier.stateDict() { result["classifier." + key] = entry }
        }
        return result
    }
}

/// A file's tensors as a recognizer needs them.
struct RecognizerState {
    /// Whether they are a recognizer's, and not a bare model's with its own classifier.
    let isRecognizers: Bool
    /// The model's, under torchvision's keys.
    let model: StateDict
    /// `classifier.…` and `_ult_clf.…`; empty for a bare model.
    let classifier: StateDict
}

extension LoadedWeights {
    var recognizerState: RecognizerState {
        let state = stateDict(without: ["module."])
        let (prefix, classifierKeys) = ("backbone.", ["classifier.", "_ult_clf."])
        func isClassifiers(_ key: String) -> Bool { classifierKeys.contains { key.hasPrefix($0) } }
        guard state.keys.contains(where: { $0.hasPrefix(prefix) }),
            state.keys.allSatisfy({ $0.hasPrefix(prefix) || isClassifiers($0) })
        else { return RecognizerState(isRecognizers: false, model: state, classifier: StateDict()) }
        return RecognizerState(
            isRecognizers: true,
            model: state.mapKeys { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil },
            classifier: state.mapKeys { isClassifiers($0) ? $0 : nil })
    }
}

/// A classification model as torchvision defines it, with its original classifier, for an image's class.
///
/// - Parameters:
///   - name: the architecture.
///   - weights: an entry of the catalogue, or a checkpoint of that architecture; the number of classes is its
///     classifier's.
///   - imageSize: the side of the images for `vit_*` and `maxvit_t`, in pixels; `nil`: that of the weights. A Vision
///     Transformer's position embedding is resized for it. All others take any size.
///   - transformInput: see ``Recognizer/load(_:transformInput:from:)``.
///   - store: where entries are looked for and downloaded to.
/// - Returns: the model in evaluation mode: `[N, H, W, 3]` to logits `[N, classes]`.
/// - Throws: `UnknownModelError`, `UnknownWeightsError`, `WeightDownloadError`, `CheckpointError`,
///   ``WeightsMismatchError``, ``ImageSizeError``.
public func loadClassifier(
    _ name: String, weights: PretrainedWeights, imageSize: Int? = nil, transformInput: Bool? = nil,
    from store: WeightStore = WeightStore()
) throws -> Module {
    let loaded = try LoadedWeights(weights, for: name, store: store)
    let state = loaded.stateDict(without: ["module.", "backbone."])
    let path = try ModelRegistry.makeModel(name).pathToUltimateClassifier()
    let classes = state[path.joined(separator: ".") + ".weight"]?.shape.first ?? 1000
    let model = try loaded.makeModel(name, for: state, numClasses: max(1, classes), imageSize: imageSize)
    do {
        try loaded.adapt(model, state, transformInput: transformInput) { try model.load(stateDict: $0) }
    } catch let error as StateDictError {
        throw WeightsMismatchError(weights: loaded.name, model: name, reason: error)
    }
    model.eval()
    return model
}
