import Tensors

/// Changes parameters along their gradients, one ``step()`` at a time: the base of ``SGD``, ``Adam`` and ``AdamW``.
///
/// A parameter without a gradient is skipped, as in PyTorch: it neither decays nor counts a step. Parameters that
/// nobody else holds are changed where they lie; a tensor that was read from one before keeps its values.
open class Optimizer {
    public let groups: [ParameterGroup]
    /// What every group's learning rate is multiplied by: the place of a ``LearningRateSchedule``.
    public var learningRateFactor = 1.0
    /// What the optimizer keeps for each parameter, by PyTorch's names.
    public let stateNames: [String]

    /// What the optimizer keeps of one parameter.
    public struct State {
        /// The parameter's steps so far.
        public internal(set) var steps = 0
        /// A tensor for each of the optimizer's ``Optimizer/stateNames``, in memory's layout; empty before the first
        /// step.
        public var tensors: [Tensor] = []
    }

    /// By the parameter's key.
    var states: [String: State] = [:]

    /// - Precondition: no key and no parameter comes twice.
    public init(_ groups: [ParameterGroup], stateNames: [String]) {
        let parameters = groups.flatMap(\.parameters)
        precondition(
            Set(parameters.map(\.key)).count == parameters.count
                && Set(parameters.map { ObjectIdentifier($0.parameter) }).count == parameters.count,
            "Optimizer: a parameter, or its key, comes twice in the groups")
        self.groups = groups
        self.stateNames = stateNames
    }

    /// Changes every parameter that has a gradient. The gradients stay; see `Module.zeroGradients()`.
    public final func step() {
        for group in groups {
            for (key, parameter) in group.parameters {
                guard let gradient = parameter.gradient else { continue }
                // Out of the table, so that its tensors are held once and can be changed in place.
                var state = states.removeValue(forKey: key) ?? State()
                state.steps += 1
                update(
                    parameter, gradient: gradient, learningRate: group.learningRate * learningRateFactor,
                    weightDecay: group.weightDecay, state: &state)
                states[key] = state
            }
        }
    }

    /// Changes one parameter. Subclasses override it; callers use ``step()``.
    ///
    /// - Parameters:
    ///   - gradient: the parameter's, of its shape in memory.
    ///   - learningRate: the group's, times the schedule's factor.
    ///   - state: what is kept of the parameter, with this step counted.
    open func update(
        _ parameter: Parameter, gradient: Tensor, learningRate: Double, weightDecay: Double, state: inout State
    ) {
        preconditionFailure("\(type(of: self)) has no update")
    }
}
