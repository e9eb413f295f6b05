// Linux's sockets alone; elsewhere the tests that need it are left out.
#if canImport(Glibc)

    import Foundation
    import Glibc
    import Synchronization

    /// A small HTTP server on the loopback address, for tests of downloads: it serves bytes by path, and misbehaves as told.
    ///
    /// It runs on a thread of this process, one connection after the other, and its sockets are not inherited by the
    /// processes that tests start.
    public final class FileServer: Sendable {
        /// What the server does with one request.
        public enum Behaviour: Sendable {
            /// Serves the file, from the offset that the request asks for.
            case serve
            /// Serves the whole file whatever was asked for.
            case ignoreRange
            /// Closes the connection after so many bytes of the body.
            case cut(after: Int)
            /// Says nothing, for so many seconds.
            case stall(Double)
            case status(Int)
        }

        /// A request that came.
        public struct Request: Sendable, Equatable {
            public let path: String
            /// The value of its Range header.
            public let range: String?
        }

        private struct State {
            var files: [String: [UInt8]] = [:]
            /// What to do with the next requests; afterwards they are served.
            var behaviours: [Behaviour] = []
            var requests: [Request] = []
            var isStopped = false
        }

        public let port: Int
        private let descriptor: Int32
        private let state = Mutex(State())

        public init() throws {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let descriptor = self.descriptor
            let isListening = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, length) == 0 && listen(descriptor, 16) == 0
                        && getsockname(descriptor, $0, &length) == 0
                }
            }
            port = Int(UInt16(bigEndian: address.sin_port))
            guard isListening else { throw POSIXError(.EADDRNOTAVAIL) }
            Thread.detachNewThread { [weak self] in
                while true {
                    let connection = accept(descriptor, nil, nil)
                    guard connection >= 0, let self else { break }
                    _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
                    self.answer(connection)
                    // Ends the connection even if a process that was started in between has inherited the socket.
                    shutdown(connection, Int32(SHUT_RDWR))
                    close(connection)
                }
                close(descriptor)
            }
        }

        /// Lets the thread end, which closes the socket: once, because its number is another file's afterwards.
        public func stop() {
            let isFirst = state.withLock { state in
                defer { state.isStopped = true }
                return !state.isStopped
            }
            if isFirst { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }

        deinit { stop() }

        public var address: String { "http://127.0.0.1:\(port)/models" }

        public func serve(_ bytes: [UInt8], as name: String) { state.withLock { $0.files["/models/" + name] = bytes } }

        /// Sets what happens to the next requests.
        public func expect(_ behaviours: Behaviour...) { state.withLock { $0.behaviours = behaviours } }

        /// The requests since the last call.
        public func takeRequests() -> [Request] {
            state.withLock { state in
                defer { state.requests = [] }
                return state.requests
            }
        }

        private func answer(_ connection: Int32) {
            guard let head = Self.readHead(connection) else { return }
            let lines = head.split(separator: "\r\n")
            let path = lines.first?.split(separator: " ").dropFirst().first.map(String.init) ?? ""
            let range = lines.first { $0.lowercased().hasPrefix("range:") }
                .map { $0.dropFirst(6).trimmingCharacters(in: .whitespaces) }
            let (behaviour, file) = state.withLock { state in
                state.requests.append(Request(path: path, range: range))
                let next = state.behaviours.isEmpty ? Behaviour.serve : state.behaviours.removeFirst()
                return (next, state.files[path])
            }
            var (limit, ignoresRange) = (Int.max, false)
            switch behaviour {
            case .serve: break
            case .ignoreRange: ignoresRange = true
            case .cut(let count): limit = count
            case .status(let status): return Self.send(connection, Self.head(status, length: 0))
            case .stall(let seconds):
                usleep(UInt32(seconds * 1e6))
                return
            }
            guard let file else { return Self.send(connection, Self.head(404, length: 0)) }
            var start = 0
            if !ignoresRange, let range, let offset = Int(range.dropFirst("bytes=".count).dropLast()) { start = offset }
            guard start < file.count || range == nil || ignoresRange else {
                return Self.send(connection, Self.head(416, length: 0))
            }
            let extra = start > 0 ? "Content-Range: bytes \(start)-\(file.count - 1)/\(file.count)\r\n" : ""
            Self.send(connection, Self.head(start > 0 ? 206 : 200, length: file.count - start, extra: extra))
            Self.send(connection, Array(file[start...].prefix(limit)))
        }

        private static func head(_ status: Int, length: Int, extra: String = "") -> [UInt8] {
            Array("HTTP/1.1 \(status) X\r\nContent-Length: \(length)\r\nConnection: close\r\n\(extra)\r\n".utf8)
        }

        private static func readHead(_ connection: Int32) -> String? {
            var bytes: [UInt8] = []
            var byte: UInt8 = 0
            while bytes.count < 1 << 16, recv(connection, &byte, 1, 0) == 1 {
                bytes.append(byte)
                if bytes.suffix(4) == [13, 10, 13, 10] { return String(decoding: bytes, as: UTF8.self) }
            }
            return nil
        }

        private static func send(_ connection: Int32, _ bytes: [UInt8]) {
            var offset = 0
            while offset < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(connection, $0.baseAddress! + offset, bytes.count - offset, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return }
                offset += count
            }
        }
    }

#endif
