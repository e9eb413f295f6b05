import Tensors

/// Modules that run one after the other, named `0`, `1`, … or by given names, as `torch.nn.Sequential`.
open class Sequential: Module {
    private let list = ChildList()

    public init(_ modules: [Module] = []) {
        super.init()
        for module in modules { append(module) }
    }

    public convenience init(_ modules: Module...) { self.init(modules) }

    public convenience init(named modules: [(name: String, module: Module)]) {
        self.init([Module]())
        for (name, module) in modules { append(module, name: name) }
    }

    /// The number of modules.
    public var count: Int { list.count }

    /// Appends a module, under its index if no name is given.
    public func append(_ module: Module, name: String? = nil) { list.append(module, name: name) }

    public subscript(index: Int) -> Module {
        get { list[index] }
        set { list[index] = newValue }
    }

    open override func forward(_ x: Tensor) -> Tensor {
        var (y, rest) = (x, list.modules[...])
        while let module = rest.popFirst() {
            if module is BatchNorm2d, let activation = rest.first as? ActivationModule {
                y = module(y, then: activation)
                rest.removeFirst()
            } else {
                y = module(y)
            }
        }
        return y
    }
}
