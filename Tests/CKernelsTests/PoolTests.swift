import CKernels
import Foundation
import Synchronization
import Testing

extension KernelTests {
    @Suite struct Pool {
        /// What the chunks of one call were, in no particular order.
        ///
        /// With NSLock, since the thread sanitizer (`make sanitize`) does not see through Mutex.
        final class Chunks: @unchecked Sendable {
            struct Chunk: Equatable { var begin: Int64, end: Int64, number: Int64 }
            private let lock = NSLock()
            private var all: [Chunk] = []
            let inner: (@Sendable () -> Void)?
            let each: (@Sendable (Int64) -> Void)?
            /// - Parameters:
            ///   - inner: is called in every chunk.
            ///   - each: is called with every index.
            init(inner: (@Sendable () -> Void)? = nil, each: (@Sendable (Int64) -> Void)? = nil) {
                (self.inner, self.each) = (inner, each)
            }

            func run(_ count: Int64, grain: Int64) -> [Chunk] {
                lock.withLock { all = [] }
                let context = Unmanaged.passUnretained(self).toOpaque()
                ck_pool_run(
                    count, grain,
                    { context, begin, end, number in
                        let chunks = Unmanaged<Chunks>.fromOpaque(context!).takeUnretainedValue()
                        chunks.inner?()
                        if let each = chunks.each { for index in begin..<end { each(index) } }
                        chunks.lock.withLock {
                            chunks.all.append(.init(begin: begin, end: end, number: number))
                        }
                    }, context)
                return lock.withLock { all.sorted { $0.number < $1.number } }
            }
        }

        /// Expects chunks that cover 0 ..< count in order, as many as ck_pool_chunks says, none smaller than the grain.
        static func expectCover(_ chunks: [Chunks.Chunk], _ count: Int64, grain: Int64) {
            let label = "\(count) by \(grain) with \(ck_pool_threads()) threads"
            #expect(Int64(chunks.count) == ck_pool_chunks(count, grain), "\(label)")
            #expect(Int64(chunks.count) <= ck_pool_threads(), "\(label)")
            var next: Int64 = 0
            for (i, chunk) in chunks.enumerated() {
                #expect(
                    chunk.number == Int64(i) && chunk.begin == next && chunk.end > chunk.begin, "\(label): \(chunks)")
                #expect(chunks.count == 1 || chunk.end - chunk.begin >= grain, "\(label): \(chunks)")
                next = chunk.end
            }
            #expect(next == max(count, 0), "\(label): \(chunks)")
        }

        /// Memory for units that parts share.
        final class Share: @unchecked Sendable {
            private let memory: UnsafeMutableRawPointer
            let share: OpaquePointer
            private let taken: UnsafeMutablePointer<Int32>
            private let units: Int

            init(units: Int, parts: Int64) {
                memory = .allocate(byteCount: Int(ck_pool_share_size(parts)), alignment: 64)
                share = OpaquePointer(memory)
                ck_pool_share_units(share, Int64(units), parts)
                taken = .allocate(capacity: units)
                taken.initialize(repeating: 0, count: units)
                self.units = units
            }

            deinit {
                memory.deallocate()
                taken.deallocate()
            }

            /// Takes units as `part` until so many calls have brought some, or none are left; the first of each call's.
            @discardableResult func take(part: Int64, most: Int64, calls: Int = .max) -> [Int64] {
                var (begin, end, begins) = (Int64(0), Int64(0), [Int64]())
                while begins.count < calls, ck_pool_share_take(share, part, most, &begin, &end) {
                    // Without a lock: the thread sanitizer would see a unit that two threads take.
                    for unit in Int(begin)..<Int(end) { taken[unit] += 1 }
                    begins.append(begin)
                }
                return begins
            }

            var everyUnitOnce: Bool { (0..<units).allSatisfy { taken[$0] == 1 } }
        }

        @Test func partsTakeTheirOwnUnitsAndThenTheLastOfOthers() {
            let share = Share(units: 10, parts: 2)
            #expect(share.take(part: 0, most: 2, calls: 1) == [0])
            #expect(share.take(part: 1, most: 1) == [5, 6, 7, 8, 9, 4, 3, 2])
            #expect(share.take(part: 0, most: 3) == [])
            #expect(share.everyUnitOnce)
            // Fewer units than parts, and a part that never comes.
            let few = Share(units: 2, parts: 5)
            #expect(few.take(part: 0, most: 4) == [0, 1] && few.everyUnitOnce)
        }

        @Test(arguments: [[1, 1, 1], [2, 1, 1], [7, 5, 1], [1000, 2, 3], [5000, 3, 1], [5000, 8, 7]])
        func unitsAreTakenOnce(_ sizes: [Int]) {
            let (units, parts, most) = (sizes[0], Int64(sizes[1]), Int64(sizes[2]))
            defer { ck_pool_set_threads(0) }
            ck_pool_set_threads(parts)
            for _ in 0..<20 {
                let share = Share(units: units, parts: parts)
                _ = Chunks(each: { share.take(part: $0, most: most) }).run(parts, grain: 1)
                #expect(share.everyUnitOnce, "\(units) units, \(parts) parts")
            }
        }

        #if arch(x86_64)
            /// On every thread of a loop, whether there are several or one; the caller's arithmetic stays what it was.
            @Test(arguments: [1, 2, 5] as [Int64]) func subnormalsAreZeroWithin(threads: Int64) {
                defer { ck_pool_set_threads(0) }
                ck_pool_set_threads(threads)
                let count = 64
                nonisolated(unsafe) let numbers = UnsafeMutablePointer<Float>.allocate(capacity: count)
                defer { numbers.deallocate() }
                // Half of them are subnormal, the others become it.
                for index in 0..<count { numbers[index] = index % 2 == 0 ? 3e-39 : 0x1p-126 }
                let begun = Atomic<Int64>(0)
                let chunks = Chunks {
                    // No thread takes another one's chunk, unless a processor is missing for long.
                    begun.add(1, ordering: .relaxed)
                    for _ in 0..<5000 where begun.load(ordering: .relaxed) < threads { usleep(1000) }
                } each: {
                    numbers[Int($0)] *= $0 % 2 == 0 ? 1e3 : 0.5
                }
                Self.expectCover(chunks.run(Int64(count), grain: 1), Int64(count), grain: 1)
                #expect((0..<count).allSatisfy { numbers[$0] == 0 })
                numbers[0] = 3e-39
                #expect(numbers[0] * 0.5 > 0)
            }
        #endif

        @Test func chunksCoverTheRange() {
            defer { ck_pool_set_threads(0) }
            for threads: Int64 in [1, 2, 3, 8, 2, 5, 1] {
                ck_pool_set_threads(threads)
                #expect(ck_pool_threads() == threads)
                for count: Int64 in [-1, 0, 1, 2, 3, 7, 8, 100, 1001] {
                    for grain: Int64 in [0, 1, 3, 40, 2000] {
                        Self.expectCover(Chunks().run(count, grain: grain), count, grain: grain)
                    }
                }
            }
        }

        @Test func manyShortLoops() {
            defer { ck_pool_set_threads(0) }
            let total = Atomic<Int64>(0)
            ck_pool_set_threads(3)
            let chunks = Chunks { total.add(1, ordering: .relaxed) }
            for i in 0..<3000 {
                Self.expectCover(chunks.run(3, grain: 1), 3, grain: 1)
                // Long enough for the workers to go to sleep, now and then.
                if i % 500 == 0 { usleep(2000) }
            }
            #expect(total.load(ordering: .relaxed) == 9000)
        }

        /// A worker may not get a processor for long. Empty chunks are over before all of some workers have begun theirs.
        @Test func callerRunsWhatNoWorkerHasBegun() {
            defer { ck_pool_set_threads(0) }
            ck_pool_set_threads(16)
            let caller = pthread_self(), byCaller = Atomic<Int64>(0)
            let chunks = Chunks {
                if pthread_equal(caller, pthread_self()) != 0 { byCaller.add(1, ordering: .relaxed) }
            }
            for _ in 0..<500 { Self.expectCover(chunks.run(16, grain: 1), 16, grain: 1) }
            // Its own chunk of each loop, and some others.
            #expect(byCaller.load(ordering: .relaxed) > 500)
        }

        @Test func loopsInsideChunksRunInPlace() {
            defer { ck_pool_set_threads(0) }
            ck_pool_set_threads(4)
            let outer = Chunks {
                let thread = pthread_self()
                let inner = Chunks { #expect(pthread_equal(thread, pthread_self()) != 0) }
                Pool.expectCover(inner.run(10, grain: 1), 10, grain: 1)
                ck_pool_set_threads(2)  // without effect in here
            }
            Self.expectCover(outer.run(4, grain: 1), 4, grain: 1)
            #expect(ck_pool_threads() == 4)
        }

        @Test func callersAtTheSameTime() {
            defer { ck_pool_set_threads(0) }
            ck_pool_set_threads(3)
            let threads = (0..<4).map { _ in
                let done = DispatchSemaphore(value: 0)
                Thread.detachNewThread {
                    for _ in 0..<500 { Pool.expectCover(Chunks().run(9, grain: 2), 9, grain: 2) }
                    done.signal()
                }
                return done
            }
            for _ in 0..<20 { ck_pool_set_threads(3) }
            for thread in threads { thread.wait() }
        }

        /// Swift hides fork, but servers that are written in other languages around this library do not.
        @Test func childrenOfAForkHaveAPool() throws {
            typealias Fork = @convention(c) () -> pid_t
            let symbol = try #require(dlsym(dlopen(nil, RTLD_NOW), "fork"))
            let fork = unsafeBitCast(symbol, to: Fork.self)
            defer { ck_pool_set_threads(0) }
            ck_pool_set_threads(3)
            _ = Chunks().run(3, grain: 1)
            let child = fork()
            if child == 0 {
                let total = UnsafeMutablePointer<Int64>.allocate(capacity: 3)
                for _ in 0..<10 {
                    total.update(repeating: 0, count: 3)
                    ck_pool_run(
                        3, 1, { $0!.assumingMemoryBound(to: Int64.self)[Int($3)] = $2 - $1 }, total)
                    if total[0] + total[1] + total[2] != 3 { _exit(1) }
                }
                ck_pool_set_threads(1)
                _exit(0)
            }
            var status: Int32 = -1
            waitpid(child, &status, 0)
            #expect(status == 0)
            Self.expectCover(Chunks().run(3, grain: 1), 3, grain: 1)
        }
    }

    @Suite struct Level {
        @Test func settingIsClampedToWhatIsSupported() {
            let supported = ck_level_supported()
            defer { ck_level_set(supported) }
            #expect(ck_level_set(CK_LEVEL_PORTABLE) == CK_LEVEL_PORTABLE)
            #expect(ck_level_current() == CK_LEVEL_PORTABLE)
            #expect(ck_level_set(CK_LEVEL_AMX) == supported)
            #expect(String(cString: ck_level_name(CK_LEVEL_AVX2)) == "avx2")
        }
    }
}
