import Foundation
import Synchronization

/// Makes numbered things on threads of its own, some ahead of whoever takes them in order. The threads have ended, and
/// what `make` holds is released, when the producer is.
final class Producer<Element: Sendable, Failure: Error>: @unchecked Sendable {
    /// Makes one of the things, or returns `nil` once the function that it is given says that nothing is wanted any
    /// more.
    typealias Make = @Sendable (_ index: Int, _ isStopped: () -> Bool) throws(Failure) -> Element?

    /// What the threads know. All but `isStopped` is changed under the condition's lock.
    private final class Core: @unchecked Sendable {
        let condition = NSCondition()
        let count: Int
        let ahead: Int
        /// `nil` when the threads have ended: they may hold this for a moment longer.
        var make: Make?
        var started = 0
        var taken = 0
        var done: [Int: Result<Element, Failure>] = [:]
        var threads = 0
        let isStopped = Atomic(false)

        init(_ count: Int, _ ahead: Int, _ make: @escaping Make) {
            (self.count, self.ahead, self.make) = (count, ahead, make)
        }

        func work() {
            condition.lock()
            while true {
                while !hasStopped, started < count, started >= taken + ahead { condition.wait() }
                guard !hasStopped, started < count else { break }
                let index = started
                started += 1
                condition.unlock()
                let result = result(index)
                condition.lock()
                done[index] = result
                condition.broadcast()
            }
            threads -= 1
            condition.broadcast()
            condition.unlock()
        }

        private var hasStopped: Bool { isStopped.load(ordering: .relaxed) }

        /// `nil` if the work was stopped.
        private func result(_ index: Int) -> Result<Element, Failure>? {
            do throws(Failure) {
                return try make!(index) { self.hasStopped }.map(Result.success)
            } catch {
                return .failure(error)
            }
        }
    }

    private let core: Core
    private var hasFailed = false

    /// - Parameter ahead: how many things there are at most that were begun and not taken.
    init(count: Int, ahead: Int, make: @escaping Make) {
        core = Core(count, max(1, ahead), make)
    }

    func start(threads: Int) {
        core.condition.withLock { core.threads += threads }
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

    /// Waits for the threads. None of them holds the producer, so that this does not run on one of them; and `make`
    /// looks at `isStopped` often enough that it takes no longer than a small part of one thing.
    deinit {
        core.condition.withLock {
            core.isStopped.store(true, ordering: .relaxed)
            core.condition.broadcast()
            while core.threads > 0 { core.condition.wait() }
            core.done = [:]
        }
        core.make = nil
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
