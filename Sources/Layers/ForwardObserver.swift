import Tensors

/// Sees every module's call in a task.
final class ForwardObserver {
    @TaskLocal private static var active: Box?
    static var current: ForwardObserver? { active?.observer }

    private struct Box: @unchecked Sendable {
        let observer: ForwardObserver
    }

    /// Called before a module runs; what it returns is called with the module's output.
    private let willRun: (Module, Tensor) -> (Tensor) -> Void

    init(willRun: @escaping (Module, Tensor) -> (Tensor) -> Void) { self.willRun = willRun }

    func during<R>(_ body: () throws -> R) rethrows -> R {
        try Self.$active.withValue(Box(observer: self), operation: body)
    }

    func observe(_ module: Module, _ input: Tensor, _ run: () -> Tensor) -> Tensor {
        let didRun = willRun(module, input)
        let output = run()
        didRun(output)
        return output
    }
}
