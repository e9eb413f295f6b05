/// A module's place for another one: the declaration of a child.
///
///     final class Block: Module {
///         @Child var conv1: Module
///         @Child var downsample: Module?
///
/// A property of type `Module` takes any module, so that it can be replaced by one of another kind; one of a subclass
/// takes only that. The child's name is the property's, or `key` where that is given.
@propertyWrapper
public final class Child<Value> {
    private var module: Module?
    let key: String?

    public init(wrappedValue: Value, key: String? = nil) {
        self.key = key
        self.module = Self.unwrap(wrappedValue)
    }

    public var wrappedValue: Value {
        get {
            // `Value` is a class type or an optional of one: `Module?` has the same representation.
            if let module { return module as! Value }
            return Module?.none as! Value
        }
        set {
            module = Self.unwrap(newValue)
            ModuleVersion.change()
        }
    }

    private static func unwrap(_ value: Value) -> Module? {
        if let module = value as? Module { return module }
        precondition(Value.self is any OptionalModule.Type, "@Child holds a Module or a Module?, not a \(Value.self)")
        return nil
    }
}

private protocol OptionalModule {}
extension Optional: OptionalModule where Wrapped: Module {}

/// What the module tree sees of a `Child`, whatever its type.
protocol ChildSlot: AnyObject {
    var key: String? { get }
    var current: Module? { get }
    /// The type that the place takes, for messages.
    var acceptedType: String { get }
    /// Puts a module there; returns whether it is of the type that the place takes.
    func replace(with module: Module) -> Bool
}

extension Child: ChildSlot {
    var current: Module? { module }
    var acceptedType: String { "\(Value.self)" }

    func replace(with module: Module) -> Bool {
        guard module is Value else { return false }
        self.module = module
        ModuleVersion.change()
        return true
    }
}

/// Any number of children, named by their index or by a given name, in the place of the property that holds the list.
public final class ChildList {
    private(set) var slots: [(name: String, slot: Child<Module>)] = []

    public init(_ modules: [Module] = []) {
        for module in modules { append(module) }
    }

    public var count: Int { slots.count }

    /// Appends a module, under its index if no name is given.
    public func append(_ module: Module, name: String? = nil) {
        let name = name ?? "\(slots.count)"
        precondition(!slots.contains { $0.name == name }, "ChildList: there is a child \"\(name)\" already")
        slots.append((name, Child(wrappedValue: module)))
    }

    public subscript(index: Int) -> Module {
        get { slots[index].slot.wrappedValue }
        set { slots[index].slot.wrappedValue = newValue }
    }

    public var modules: [Module] { slots.map(\.slot.wrappedValue) }
}
