#if canImport(Glibc)

    import Foundation
    import Recognite
    import Synchronization
    import TestSupport
    import Testing

    /// Downloads from a server on this machine.
    @Suite(.timeLimit(.minutes(2))) struct WeightStoreTests {
        /// SHA-256 of `content`, which `sha256sum` computed.
        private static let hash = "a15577fe24648a09b22b238cadfc34f9f7938e4fe7d8b13eaf815c09352c031d"
        /// More than a socket takes at once.
        private let content = (0..<3_000_000).map { UInt8(truncatingIfNeeded: ($0 &* $0) >> 8) }
        private let folder: URL
        private let server: FileServer

        init() throws {
            folder = FileManager.default.temporaryDirectory.appending(path: "recognite-\(UUID())")
            server = try FileServer()
        }

        private var store: WeightStore { WeightStore(folder: folder.path, mirror: server.address) }

        /// An entry with the hash of `content`, or another one.
        private func entry(hash: String = Self.hash) throws -> WeightEntry {
            let text = """
                {"model":"resnet18","class":"ResNet18_Weights","name":"TEST_V1","isDefault":false,\
                "url":"https://example.invalid/models/test-\(hash.prefix(8)).pth","hashPrefix":"\(hash.prefix(8))",\
                "parameterCount":1,"minSize":1,"crop":224,"resize":256,"interpolation":"bilinear","mean":[0,0,0],\
                "std":[1,1,1],"gigaMultiplyAdds":0,"megabytes":3,"recipe":""}
                """
            return try JSONDecoder().decode(WeightEntry.self, from: Data(text.utf8))
        }

        private func cleanUp() {
            server.stop()
            try? FileManager.default.removeItem(at: folder)
        }

        private func names() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        }

        private func bytes(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: path))) }

        @Test func aFileIsDownloadedOnceAndUsedAfterwards() throws {
            defer { cleanUp() }
            let entry = try entry()
            server.serve(content, as: entry.fileName)
            var store = store
            let seen = Mutex((0, Int?.none))
            store.onProgress = { progress in seen.withLock { $0 = (progress.received, progress.total) } }
            #expect(!store.contains(entry))
            let path = try store.fetch(entry)
            #expect(try bytes(path) == content)
            #expect(path == folder.path + "/test-\(Self.hash.prefix(8)).pth" && store.contains(entry))
            #expect(seen.withLock { $0.0 } == content.count && seen.withLock { $0.1 } == content.count)
            #expect(try store.fetch(entry) == path)
            let requests = server.takeRequests()
            #expect(requests.map(\.path) == ["/models/\(entry.fileName)"] && requests.map(\.range) == [nil])
            #expect(try names() == [entry.fileName])
        }

        @Test func aCutConnectionIsTakenUpWhereItBroke() throws {
            defer { cleanUp() }
            let entry = try entry()
            server.serve(content, as: entry.fileName)
            server.expect(.cut(after: 1_500_000), .cut(after: 1_400_000))
            #expect(try bytes(store.fetch(entry)) == content)
            let ranges = server.takeRequests().map(\.range)
            #expect(ranges == [nil, "bytes=1500000-", "bytes=2900000-"])
            #expect(try names() == [entry.fileName])
        }

        @Test func whatAnInterruptedTryHasLeftIsContinuedByTheNext() throws {
            defer { cleanUp() }
            let entry = try entry()
            server.serve(content, as: entry.fileName)
            server.expect(.cut(after: 1000), .cut(after: 1000), .cut(after: 1000))
            let error = #expect(throws: WeightDownloadError.self) { try store.fetch(entry) }
            guard case .interrupted(3000, content.count, _)? = error?.problem else {
                Issue.record("\(error.map { "\($0)" } ?? "")")
                return
            }
            #expect(try names() == [entry.fileName + ".partial"])
            _ = server.takeRequests()
            #expect(try bytes(store.fetch(entry)) == content)
            #expect(server.takeRequests().map(\.range) == ["bytes=3000-"])
        }

        @Test func aServerWithoutRangesStartsAnew() throws {
            defer { cleanUp() }
            let entry = try entry()
            server.serve(content, as: entry.fileName)
            server.expect(.cut(after: 1_500_000), .ignoreRange)
            #expect(try bytes(store.fetch(entry)) == content)
        }

        @Test(arguments: [100, 3_000_000, 3_000_100]) func aWrongPartIsThrownAway(length: Int) throws {
            defer { cleanUp() }
            let entry = try entry()
            server.serve(content, as: entry.fileName)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(repeating: 1, count: length).write(to: folder.appending(path: entry.fileName + ".partial"))
            #expect(try bytes(store.fetch(entry)) == content)
            #expect(try names() == [entry.fileName])
            #expect(server.takeRequests().map(\.range) == ["bytes=\(length)-", nil])
        }

        @Test func aWrongHashLeavesNothing() throws {
            defer { cleanUp() }
            let entry = try entry(hash: "0123456789")
            server.serve(content, as: entry.fileName)
            let error = #expect(throws: WeightDownloadError.self) { try store.fetch(entry) }
            guard case .wrongHash(String(Self.hash.prefix(8)))? = error?.problem else {
                Issue.record("\(error.map { "\($0)" } ?? "")")
                return
            }
            #expect(try names() == [])
        }

        @Test func errorsNameTheAddressAndThePlaceForTheFile() throws {
            defer { cleanUp() }
            let entry = try entry()
            func message(_ store: WeightStore) -> String {
                let error = #expect(throws: WeightDownloadError.self) { try store.fetch(entry) }
                return error.map { "\($0)" } ?? ""
            }
            let missing = message(store)
            #expect(try names() == [])
            for part in ["404", server.address + "/" + entry.fileName, folder.path + "/" + entry.fileName] {
                #expect(missing.contains(part), "\(missing)")
            }
            server.expect(.status(503))
            #expect(message(store).contains("503"))
            // A port that nobody listens at, as without a network.
            let closed = try FileServer()
            closed.stop()
            let offline = message(WeightStore(folder: folder.path, mirror: closed.address))
            #expect(offline.contains(closed.address + "/" + entry.fileName), "\(offline)")
            #expect(message(WeightStore(folder: folder.path, mirror: "ftp://127.0.0.1/x")).contains("http"))
            #expect(message(WeightStore(folder: folder.path, mirror: "no address")).contains("http"))
            #expect(message(WeightStore(folder: "/dev/null/x", mirror: server.address)).contains("/dev/null/x"))
            server.serve(content, as: entry.fileName)
            server.expect(.stall(3))
            var impatient = store
            impatient.patience = 1
            #expect(message(impatient).contains("in time"))
        }

        @Test func threadsThatWantTheSameFileFetchItOnce() throws {
            defer { cleanUp() }
            let entry = try entry()
            server.serve(content, as: entry.fileName)
            let store = store
            let failures = Mutex(0)
            DispatchQueue.concurrentPerform(iterations: 4) { _ in
                do { _ = try store.fetch(entry) } catch { failures.withLock { $0 += 1 } }
            }
            #expect(failures.withLock { $0 } == 0)
            #expect(server.takeRequests().count == 1)
            #expect(try names() == [entry.fileName])
        }

        @Test func theFolderIsPyTorchs() {
            func folder(_ environment: [String: String]) -> String { WeightStore(environment: environment).folder }
            #expect(folder(["HOME": "/h"]) == "/h/.cache/torch/hub/checkpoints")
            #expect(folder(["HOME": "/h", "XDG_CACHE_HOME": "/c"]) == "/c/torch/hub/checkpoints")
            #expect(folder(["HOME": "/h", "XDG_CACHE_HOME": "/c", "TORCH_HOME": "/t"]) == "/t/hub/checkpoints")
            #expect(folder(["HOME": "/h", "TORCH_HOME": "~/t"]) == "/h/t/hub/checkpoints")
            #expect(WeightStore(environment: ["RECOGNITE_WEIGHTS_URL": "http://m"]).mirror == "http://m")
            #expect(
                WeightStore(mirror: "http://p", environment: ["RECOGNITE_WEIGHTS_URL": "http://m"]).mirror == "http://p"
            )
            #expect(WeightStore(environment: [:]).mirror == nil)
        }
    }

#endif
