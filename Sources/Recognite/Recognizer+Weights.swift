import Layers
import ModelZoo

extension Recognizer {
    /// Loads weights of either kind: a bare classification model's (torchvision's keys), whose own classifier is left
    /// out because the recognizer's takes its place; or a recognizer's (`backbone.…`, `classifier.…`), whose classifier
    /// is left out where this recognizer has none. Prefixes that wrappers add (`module.`) are taken off.
    ///
    /// All other keys and shapes must agree; on an error nothing is changed.
    ///
    /// - Throws: `CheckpointError` for a file that cannot be read, ``WeightsMismatchError`` with every key that does not
    ///   fit.
    public func load(_ weights: PretrainedWeights) throws {
        let checkpoint = try weights.checkpoint()
        do {
            try load(stateDict: recognizerState(checkpoint))
        } catch let error as StateDictError {
            throw WeightsMismatchError(weights: weights.name, model: modelName, reason: error)
        }
    }

    /// A checkpoint's tensors under this recognizer's keys.
    private func recognizerState(_ checkpoint: Checkpoint) -> StateDict {
        let unwrapped = checkpoint.strippingCommonPrefix(["module."]).stateDict
        let classifierKeys = ["classifier.", "_ult_clf."]
        if unwrapped.keys.contains(where: { $0.hasPrefix("backbone.") }),
            unwrapped.keys.allSatisfy({ key in (["backbone."] + classifierKeys).contains { key.hasPrefix($0) } })
        {
            guard classifier == nil else { return completed(unwrapped) }
            return unwrapped.mapKeys { key in classifierKeys.contains { key.hasPrefix($0) } ? nil : key }
        }
        let original = classifierPath.joined(separator: ".") + "."
        return completed(unwrapped.mapKeys { $0.hasPrefix(original) ? nil : "backbone." + $0 })
    }

    /// A state dict with this recognizer's own classifier, where it lacks one: a backbone alone may be loaded.
    private func completed(_ state: StateDict) -> StateDict {
        guard let classifier, !state.keys.contains(where: { $0.hasPrefix("classifier.") || $0.hasPrefix("_ult_clf.") })
        else { return state }
        var result = state
        for (key, entry) in classifier.stateDict() { result["classifier." + key] = entry }
        return result
    }
}

/// A classification model as torchvision defines it, with its original classifier, for an image's class.
///
/// - Parameters:
///   - name: the architecture.
///   - weights: a checkpoint of that architecture; the number of classes is its classifier's.
/// - Returns: the model in evaluation mode: `[N, H, W, 3]` to logits `[N, classes]`.
/// - Throws: `UnknownModelError`, `CheckpointError`, ``WeightsMismatchError``.
public func loadClassifier(_ name: String, weights: PretrainedWeights) throws -> Module {
    let state = try weights.checkpoint().strippingCommonPrefix(["module."]).stateDict
    let blank = try ModelRegistry.makeModel(name)
    let key = try blank.pathToUltimateClassifier().joined(separator: ".") + ".weight"
    let classes = state[key]?.shape.first
    let model = try classes.map { try ModelRegistry.makeModel(name, numClasses: max(1, $0)) } ?? blank
    do {
        try model.load(stateDict: state)
    } catch let error as StateDictError {
        throw WeightsMismatchError(weights: weights.name, model: name, reason: error)
    }
    model.eval()
    return model
}
