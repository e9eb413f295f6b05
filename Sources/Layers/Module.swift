import Tensors

/// A part of a network: a tree of named children with parameters and buffers at its nodes.
///
/// A subclass declares its state by stored properties, and the order of declaration is the order of the state dict:
/// children by `@Child` or a `ChildList`, tensors by `Parameter`, `Buffer` and `IntegerBuffer`. Any other property is
/// no state. A property's name is its key, unless the declaration gives another one.
///
/// Modules are not `Sendable`: a model may be used from several threads at once as long as nobody changes it.
open class Module {
    /// Whether the module is in training mode; see ``train(_:)`` and ``eval()``.
    public private(set) var isTraining = true {
        didSet { if isTraining != oldValue { ModuleVersion.change() } }
    }

    /// Whether the module, in training mode, forgets what is computed inside it, and computes it once more on the way
    /// back: less memory for more time. Of most use on each of several large parts of a network, like ResNet's blocks. Random
    /// numbers, running statistics and gradients are what they are without.
    public var checkpointsActivations = false

    public init() {}

    /// Computes the module's output. Subclasses override it; callers use `module(x)`.
    open func forward(_ x: Tensor) -> Tensor {
        preconditionFailure("\(typeName) has no forward(_:)")
    }

    /// Runs the module.
    ///
    /// In evaluation mode, a module with children runs as a plan: its computation is captured once for each size of input,
    /// merged into fewer steps, and kept, until a parameter, a module or a mode changes.
    public final func callAsFunction(_ x: Tensor) -> Tensor {
        if let observer = ForwardObserver.current { return observer.observe(self, x) { checkpointedForward(x) } }
        guard Engine.allowsPlans, Trace.current == nil else { return checkpointedForward(x) }
        // What this module calls are parts of this call.
        return Engine.withinModel { planned(x) ?? checkpointedForward(x) }
    }

    /// To be called when a property of the module that is no parameter, buffer or child, but that its `forward` reads in
    /// evaluation mode, has changed: plans that were made before are then made anew.
    public final func invalidatePlans() { revision.change() }

    /// Another number after each ``invalidatePlans()``.
    let revision = Version()

    /// The plans of this module, as the outermost one of a call.
    let plans = PlanCache()

    /// The name of the type as `print` shows it.
    open var typeName: String { "\(type(of: self))" }

    /// What `print` shows between the parentheses of a module without children: its hyper-parameters.
    open var hyperparameterDescription: String { "" }

    // MARK: Members

    enum Member {
        case child(name: String, ChildSlot)
        case list(ChildList)
        case parameter(name: String, Parameter)
        case buffer(name: String, Buffer)
        case integers(name: String, IntegerBuffer)
    }

    /// The declared members, in order, the superclass's first.
    private(set) lazy var members: [Member] = {
        var levels: [[Member]] = []
        var mirror: Mirror? = Mirror(reflecting: self)
        while let level = mirror {
            levels.append(level.children.compactMap(Self.member))
            mirror = level.superclassMirror
        }
        return levels.reversed().flatMap { $0 }
    }()

    private static func member(_ property: Mirror.Child) -> Member? {
        // A property wrapper's storage is the property's name behind an underscore.
        var name = property.label ?? ""
        switch property.value {
        case let slot as ChildSlot:
            if name.hasPrefix("_") { name.removeFirst() }
            return .child(name: slot.key ?? name, slot)
        case let list as ChildList: return .list(list)
        case let parameter as Parameter: return .parameter(name: parameter.key ?? name, parameter)
        case let buffer as Buffer: return .buffer(name: buffer.key ?? name, buffer)
        case let integers as IntegerBuffer: return .integers(name: integers.key ?? name, integers)
        default: return nil
        }
    }

    /// The places of the children, in order, the empty ones too.
    var childSlots: [(name: String, slot: ChildSlot)] {
        members.flatMap { member -> [(name: String, slot: ChildSlot)] in
            switch member {
            case .child(let name, let slot): [(name, slot)]
            case .list(let list): list.slots.map { ($0.name, $0.slot) }
            default: []
            }
        }
    }

    // MARK: The tree

    /// The children with their names, in order.
    public var namedChildren: [(name: String, module: Module)] {
        childSlots.compactMap { name, slot in slot.current.map { (name, $0) } }
    }

    /// This module and all below it with their paths, parents first; a module in two places comes once.
    public var namedModules: [(path: [String], module: Module)] {
        var seen: Set<ObjectIdentifier> = []
        var result: [(path: [String], module: Module)] = []
        func visit(_ module: Module, _ path: [String]) {
            guard seen.insert(ObjectIdentifier(module)).inserted else { return }
            result.append((path, module))
            for (name, child) in module.namedChildren { visit(child, path + [name]) }
        }
        visit(self, [])
        return result
    }

    /// This module and all below it, parents first.
    public var modules: [Module] { namedModules.map(\.module) }

    /// The parameters of this module and all below it by their keys, in the order of the state dict; a parameter that
    /// has two keys comes once, under the first.
    public func namedParameters() -> [(key: String, parameter: Parameter)] {
        var seen: Set<ObjectIdentifier> = []
        return namedMembers().compactMap { key, member in
            guard case .parameter(_, let parameter) = member, seen.insert(ObjectIdentifier(parameter)).inserted
            else { return nil }
            return (key, parameter)
        }
    }

    /// The parameters of this module and all below it.
    public func parameters() -> [Parameter] { namedParameters().map(\.parameter) }

    /// The number of elements of all parameters.
    public var parameterCount: Int { parameters().reduce(0) { $0 + $1.count } }

    /// All state of this module and all below it by its keys: own parameters, own buffers, then the children's.
    func namedMembers() -> [(key: String, member: Member)] {
        var result: [(key: String, member: Member)] = []
        func visit(_ module: Module, _ prefix: String) {
            for member in module.members {
                if case .parameter(let name, _) = member { result.append((prefix + name, member)) }
            }
            for member in module.members {
                switch member {
                case .buffer(let name, _), .integers(let name, _): result.append((prefix + name, member))
                default: break
                }
            }
            for (name, child) in module.namedChildren { visit(child, prefix + name + ".") }
        }
        visit(self, "")
        return result
    }

    // MARK: Mode and freezing

    /// Puts this module and all below it into training mode (or out of it): dropout drops, batch norm uses and
    /// updates the batch's statistics.
    public func train(_ training: Bool = true) {
        for module in modules { module.isTraining = training }
    }

    /// Puts this module and all below it into evaluation mode.
    public func eval() { train(false) }

    /// Stops (or lets) the parameters of this module and all below it get gradients.
    public func freeze(_ frozen: Bool = true) {
        for parameter in parameters() { parameter.requiresGradient = !frozen }
    }

    /// Forgets the parameters' gradients.
    public func zeroGradients() {
        for parameter in parameters() { parameter.gradient = nil }
    }
}
