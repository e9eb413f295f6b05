import Layers

/// A family whose weights files want something of the state dict, or of the model, before they are loaded.
public protocol WeightsAdapting: Module {
    /// A state dict in the form that this model takes: old keys renamed, tensors brought to its size.
    ///
    /// - Parameter isPublished: whether these are torchvision's published weights.
    func adapting(_ state: StateDict, isPublished: Bool) throws -> StateDict

    /// Gives the model the parts that an adapted state dict has tensors for, where the family has variants.
    ///
    /// - Returns: puts the model back, for the case that loading fails.
    func reshape(for state: StateDict) -> () -> Void
}

extension WeightsAdapting {
    public func adapting(_ state: StateDict, isPublished: Bool) throws -> StateDict { state }

    public func reshape(for state: StateDict) -> () -> Void { {} }
}

/// A model that can take images as ImageNet's statistics normalize them, although its weights were trained with others.
public protocol InputTransforming: Module {
    /// Whether the images are normalized anew, with 0.5 and 0.5.
    var transformInput: Bool { get set }
}

extension DenseNet: WeightsAdapting {
    public func adapting(_ state: StateDict, isPublished: Bool) -> StateDict { Self.renamingLegacyKeys(state) }
}

extension VisionTransformer: WeightsAdapting {
    /// Old keys renamed, and the position embedding resized where it is for another size of images.
    public func adapting(_ state: StateDict, isPublished: Bool) throws -> StateDict {
        let renamed = Self.renamingLegacyKeys(state)
        // Without an embedding the list of missing keys says more.
        guard renamed[Self.positionKey] != nil else { return renamed }
        return try Self.interpolatingEmbeddings(of: renamed, imageSize: imageSize, patchSize: patchSize)
    }
}

extension MNASNet: WeightsAdapting {
    /// Files of the first version have a stem of fixed width, as torchvision's `_load_from_state_dict` knows.
    public func reshape(for state: StateDict) -> () -> Void {
        guard state["layers.0.weight"]?.shape == [32, 3, 3, 3], !hasFixedStem else { return {} }
        return setFixedStem()
    }
}

extension GoogLeNet: InputTransforming, WeightsAdapting {
    /// The auxiliary heads of published weights are left out, as torchvision drops them.
    public func adapting(_ state: StateDict, isPublished: Bool) -> StateDict {
        guard isPublished else { return state }
        return state.mapKeys { $0.hasPrefix("aux1.") || $0.hasPrefix("aux2.") ? nil : $0 }
    }

    /// The auxiliary heads follow the file: none without weights, and as many classes as it has.
    public func reshape(for state: StateDict) -> () -> Void {
        let (old1, old2) = (aux1, aux2)
        aux1 = Self.head(aux1, inChannels: 512, like: state["aux1.fc2.weight"])
        aux2 = Self.head(aux2, inChannels: 528, like: state["aux2.fc2.weight"])
        for head in [aux1, aux2] { head?.train(isTraining) }
        return { (self.aux1, self.aux2) = (old1, old2) }
    }
}

extension Inception3: InputTransforming, WeightsAdapting {
    /// The auxiliary head follows the file: none without weights, and as many classes as it has.
    public func reshape(for state: StateDict) -> () -> Void {
        let old = AuxLogits
        AuxLogits = Self.head(AuxLogits, like: state["AuxLogits.fc.weight"])
        AuxLogits?.train(isTraining)
        return { self.AuxLogits = old }
    }
}
