import Plans
import Synchronization
import Tensors

/// Counts the changes to any module of the process: while it stands still, every plan is up to date.
enum ModuleVersion {
    private static let changes = Atomic<UInt64>(0)

    static var current: UInt64 { changes.load(ordering: .acquiring) }

    /// To be called behind each change to a parameter, a buffer, a child or a mode; returns the new count.
    @discardableResult
    static func change() -> UInt64 { changes.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue }
}

/// The version of one piece of state: no two pieces, and no two versions of one, have the same number.
final class Version: Sendable {
    private let number = Atomic<UInt64>(ModuleVersion.change())

    var current: UInt64 { number.load(ordering: .acquiring) }

    func change() { number.store(ModuleVersion.change(), ordering: .releasing) }
}

/// The plans of one module for the latest sizes of its input.
final class PlanCache: @unchecked Sendable {
    private struct Key: Hashable {
        let imageShape: [Int]
        let threads: Int
        let instructionSet: String
    }

    private enum Entry {
        case plan(Plan)
        /// The images of a batch depend on each other: the model runs operation by operation.
        case none
    }

    private struct State {
        /// The count of changes at which the module was last found as the plans have it.
        var version: UInt64?
        var signature: [ModuleState] = []
        /// Whether every module is in evaluation mode.
        var isInEvaluation = false
        /// Whether any parameter wants a gradient.
        var wantsGradients = false
        /// The latest last.
        var entries: [(key: Key, entry: Entry)] = []
        var weights = PackedWeightCache()
        /// The plans that took the place of others.
        var replacements = 0
    }

    /// Plans for more sizes than this take the place of the oldest.
    private static let capacity = 8
    /// Replacements after which memory that nobody uses goes back to the system: blocks of ever other sizes leave gaps in the
    /// heap, which grew by a fifth over 20,000 runs of changing sizes.
    private static let replacementsBeforeReturn = 64

    private let state = Mutex(State())

    /// The plan of a module for images of a shape, and whether its output may want a gradient; `nil` if there can be no
    /// plan.
    func plan(for module: Module, imageShape: [Int]) -> (plan: Plan, wantsGradients: Bool)? {
        let key = Key(
            imageShape: imageShape, threads: Engine.threads, instructionSet: Engine.instructionSet)
        return state.withLock { state in
            // Read before the module is, so that a change in between is noticed next time.
            let version = ModuleVersion.current
            if state.version != version {
                let signature = module.planState
                if signature != state.signature {
                    state = State()
                    state.signature = signature
                    state.isInEvaluation = signature.allSatisfy { !$0.isTraining }
                }
                state.wantsGradients = module.parameters().contains(where: \.requiresGradient)
                state.version = version
            }
            guard state.isInEvaluation else { return nil }
            if let index = state.entries.lastIndex(where: { $0.key == key }) {
                let found = state.entries.remove(at: index)
                state.entries.append(found)
                if case .plan(let plan) = found.entry { return (plan, state.wantsGradients) }
                return nil
            }
            let plan = Self.makePlan(module, key, state.weights)
            if state.entries.count == Self.capacity {
                state.entries.removeFirst()
                state.replacements += 1
                if state.replacements % Self.replacementsBeforeReturn == 0 { Engine.returnFreeMemory() }
            }
            state.entries.append((key, plan.map(Entry.plan) ?? .none))
            return plan.map { ($0, state.wantsGradients) }
        }
    }

    /// Makes a plan, and frees the memory of parameters that can be computed from its packed weights as soon as these are
    /// there.
    private static func makePlan(_ module: Module, _ key: Key, _ weights: PackedWeightCache) -> Plan? {
        // First values are computed when the model's forward first reads them.
        lazy var parameters = Dictionary(grouping: module.parameters()) { $0.contents }
        var isAnyPacked = false
        let plan = Plan(imageShape: key.imageShape, threads: key.threads, cache: weights) {
            module.forward($0)
        } whenPacked: { tensor in
            isAnyPacked = true
            for parameter in parameters[tensor.storage.contents] ?? [] { parameter.hold(in: weights.restorable) }
        }
        // What was freed between packed weights. That takes time, which a plan for another size of images does not need.
        if isAnyPacked { Engine.returnFreeMemory() }
        return plan
    }
}

/// What a plan of a module depends on: the module, its mode and its tensors.
struct ModuleState: Equatable {
    let module: ObjectIdentifier
    let isTraining: Bool
    let revision: UInt64
    let tensors: [UInt64]
}

extension Module {
    /// The output, computed by a plan; `nil` if the module has to run operation by operation: in training mode, for an
    /// input that wants a gradient, or where a plan is not possible.
    func planned(_ x: Tensor) -> Tensor? {
        guard !isTraining, x.rank >= 2, x.shape[0] > 0, x.count > 0, !x.requiresGradient,
            hasChildren, let (plan, wantsGradients) = plans.plan(for: self, imageShape: Array(x.shape.dropFirst()))
        else { return nil }
        let output = plan.run(x)
        guard wantsGradients, GradientMode.isRecording else { return output }
        // Gradients are seldom wanted in evaluation mode: whoever does want them pays for a second forward pass.
        return output.watched { gradient in
            GradientMode.enabled {
                let again = Engine.withoutPlans { self.forward(x) }
                again.backward(gradient: gradient)
            }
        }
    }

    private var hasChildren: Bool {
        members.contains { member in
            switch member {
            case .child(_, let slot): slot.current != nil
            case .list(let list): list.count > 0
            default: false
            }
        }
    }

    fileprivate var planState: [ModuleState] {
        modules.map { module in
            ModuleState(
                module: ObjectIdentifier(module), isTraining: module.isTraining,
                revision: module.revision.current,
                tensors: module.members.flatMap { member -> [UInt64] in
                    switch member {
                    case .parameter(_, let parameter): [parameter.version.current]
                    case .buffer(_, let buffer): [buffer.version.current]
                    case .integers(_, let buffer): [buffer.version.current]
                    case .child, .list: []
                    }
                })
        }
    }
}
