import Layers
import Logging
import ModelZoo
import Weights

/// Tells what loading did beside what it was asked for.
private let log = Logger(label: "recognite.weights")

/// A checkpoint that was opened for a model, and the catalogue's entry that it is of, if any.
struct LoadedWeights {
    /// What messages call the weights.
    let name: String
    let entry: WeightEntry?
    private let checkpoint: Checkpoint

    /// Opens a file, or an entry's, which is downloaded if need be.
    init(_ weights: PretrainedWeights, for model: String, store: WeightStore) throws {
        // A wrong model name is the first thing to say.
        _ = try ModelRegistry.entry(model)
        switch weights {
        case .file(let path):
            (name, entry) = (path, nil)
        case .entry(let entryName):
            let entry = try WeightCatalogue.entry(entryName, of: model)
            if !store.contains(entry) {
                log.notice("downloading \(store.url(of: entry)) (\(entry.megabytes) MB) to \(store.folder)")
            }
            if entry.classes == nil {
                log.notice("\(entry.fullName) are weights of the features alone, behind which they are not numbers")
            }
            (name, self.entry) = (try store.fetch(entry), entry)
        }
        checkpoint = try Checkpoint(contentsOf: name)
    }

    /// Whether the weights are torchvision's published ones, which some families treat in their own way.
    var isPublished: Bool { entry != nil }

    /// The tensors without the prefixes that wrappers add to all keys; what was found is logged.
    func stateDict(without prefixes: [String]) -> StateDict {
        let (state, prefix) = checkpoint.strippingCommonPrefix(prefixes)
        if let nesting = checkpoint.nesting {
            log.notice("\(name): the weights are nested under \(nesting.joined(separator: "."))")
        }
        if !prefix.isEmpty { log.notice("\(name): took the prefix \"\(prefix)\" off all keys") }
        return state
    }

    /// A blank model that these weights are for.
    ///
    /// - Parameters:
    ///   - state: their tensors, without prefixes.
    ///   - imageSize: the side of the images, in pixels; `nil`: that of the weights.
    func makeModel(
        _ name: String, for state: StateDict, numClasses: Int = 1000, imageSize: Int?
    ) throws -> Module {
        let architecture = try ModelRegistry.entry(name)
        var size = imageSize
        if size == nil, architecture.hasFixedInputSize {
            // A size that makes no sense is left to the loading, whose error lists shapes.
            let own = entry?.minimumSize ?? VisionTransformer.imageSize(of: state)
            size = own.flatMap { architecture.canBeBuilt(forImageSize: $0) ? $0 : nil }
        }
        return try makeBlankModel(name, numClasses: numClasses, imageSize: size)
    }

    /// Loads tensors into a model: in the form that its family takes, and with its parts as the tensors want them.
    ///
    /// - Parameters:
    ///   - model: the classification model, or what is left of it.
    ///   - state: the tensors under that model's keys.
    ///   - transformInput: whether the model normalizes images anew, where its family can; `nil`: published weights
    ///     switch it on, others leave it.
    ///   - load: loads the adapted tensors.
    func adapt(
        _ model: Module, _ state: StateDict, transformInput: Bool?, load: (StateDict) throws -> Void
    ) throws {
        var (state, restore) = (state, {})
        if let family = model as? any WeightsAdapting {
            do {
                state = try family.adapting(state, isPublished: isPublished)
            } catch let error as PositionEmbeddingError {
                throw PositionEmbeddingError(description: "\(name): \(error)")
            }
            restore = family.reshape(for: state)
        }
        do {
            try load(state)
        } catch {
            restore()
            throw error
        }
        guard let family = model as? any InputTransforming else { return }
        family.transformInput = transformInput ?? (isPublished || family.transformInput)
    }
}

/// A model with first weights of its own, for images of a size that it can be built for.
func makeBlankModel(_ name: String, numClasses: Int = 1000, imageSize: Int?) throws -> Module {
    if let imageSize { try ModelRegistry.entry(name).check(imageSize: imageSize) }
    return try ModelRegistry.makeModel(name, numClasses: numClasses, imageSize: imageSize)
}
