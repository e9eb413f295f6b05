/// How far a loop is: on a terminal, nowhere else.
struct ProgressBar {
    private let total: Int
    private let unit: String
    private let start = ContinuousClock.now
    private var lastDrawn: ContinuousClock.Instant?
    private let isShown = StandardError.isTerminal

    init(total: Int, unit: String) {
        self.total = total
        self.unit = unit
    }

    /// Shows that `done` units are done, ten times a second at most.
    ///
    /// - Parameter detail: what is said behind the count, in place of the units per second.
    mutating func show(_ done: Int, detail: String? = nil) {
        let now = ContinuousClock.now
        guard isShown, done == total || lastDrawn.map({ now - $0 > .milliseconds(100) }) ?? true else { return }
        lastDrawn = now
        let width = 30
        let filled = total == 0 ? width : width * done / total
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
        let rate = Double(done) / max(1e-9, (now - start) / .seconds(1))
        let detail = detail ?? "\(Int(rate.rounded()))/s"
        StandardError.write("\r\(bar) \(done)/\(total) \(unit), \(detail)\u{1B}[K")
    }

    /// Clears the line.
    func finish() {
        if isShown { StandardError.write("\r\u{1B}[K") }
    }
}
