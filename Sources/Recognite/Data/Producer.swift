import Foundation

/// Makes numbered things on threads of its own, some ahead of whoever takes them in order.
final class Producer<Element: Sendable, Failure: Error>: @unchecked Sendable {
    /// What the threads know; they keep it alive, and end when their producer has gone.
    private final class Core: @unchecked Sendable {
        let condition = NSCondition()
        let count: Int
        let ahead: Int
        let make: @Sendable (Int) throws(Failure) -> Element
        var started = 0
        var taken = 0
        var done: [Int: Result<Element, Failure>] = [:]
        var isStopped = false

        init(_ count: Int, _ ahead: Int, _ make: @escaping @Sendable (Int) throws(Failure) -> Element) {
            (self.count, self.ahead, self.make) = (count, ahead, make)
        }

        func work() {
            condition.lock()
            while true {
                while !isStopped, started < count, started >= taken + ahead { condition.wait() }
                guard !isStopped, started < count else { break }
                let index = started
                started += 1
                condition.unlock()
                let result = Result { () throws(Failure) in try make(index) }
                condition.lock()
                done[index] = result
                condition.broadcast()
            }
            condition.unlock()
        }
    }

    private let core: Core
    private var hasFailed = false

    /// - Parameter ahead: how many things there are at most that were begun and not taken.
    init(count: Int, ahead: Int, make: @escaping @Sendable (Int) throws(Failure) -> Element) {
        core = Core(count, max(1, ahead), make)
    }

    func start(threads: Int) {
        for number in 0..<threads {
            let core = core
            let thread = Thread {
                Thread.current.name = "recognite.load\(number)"
                core.work()
            }
            thread.stackSize = 2 << 20
            thread.start()
        }
    }

    deinit {
        core.condition.withLock {
            core.isStopped = true
            core.condition.broadcast()
        }
    }

    /// The next one in order; `nil` at the end, and behind a failure.
    func next() -> Result<Element, Failure>? {
        guard !hasFailed else { return nil }
        return core.condition.withLock {
            guard core.taken < core.count else { return nil }
            while core.done[core.taken] == nil { core.condition.wait() }
            let result = core.done.removeValue(forKey: core.taken)!
            core.taken += 1
            core.condition.broadcast()
            if case .failure = result { hasFailed = true }
            return result
        }
    }
}
