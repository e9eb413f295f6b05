import CKernels
import Testing

/// The parent of all kernel suites. Some set the number of threads of the process, so they run one by one.
@Suite(.serialized) struct KernelTests {}

/// Floats in an allocation of exactly their size, so that the address sanitizer sees every access beyond it.
final class Floats {
    let count: Int
    let pointer: UnsafeMutablePointer<Float>

    init(_ count: Int, filledWith value: Float = 0) {
        self.count = count
        pointer = .allocate(capacity: count)
        pointer.initialize(repeating: value, count: count)
    }

    convenience init(_ values: [Float]) {
        self.init(values.count)
        for (i, value) in values.enumerated() { pointer[i] = value }
    }

    deinit { pointer.deallocate() }

    var copy: Floats {
        let result = Floats(count)
        result.pointer.update(from: pointer, count: count)
        return result
    }

    var values: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}

/// SplitMix64: the same numbers on every machine.
struct Random {
    private var state: UInt64
    init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in -scale ..< scale.
    mutating func floats(_ count: Int, scale: Float = 1) -> Floats {
        let result = Floats(count)
        for i in 0..<count { result.pointer[i] = (Float(next() >> 40) / Float(1 << 23) - 1) * scale }
        return result
    }
}

/// Runs the body at every level that this machine supports, with choices made for some cores, then restores what was in use.
func atEveryLevel(choosingFor cores: ck_cores = ck_cores_current(), _ body: (String) throws -> Void) rethrows {
    let (current, currentCores) = (ck_level_current(), ck_cores_current())
    defer {
        ck_level_set(current)
        ck_cores_set(currentCores)
    }
    ck_cores_set(cores)
    for raw in 0...ck_level_supported().rawValue {
        let level = ck_level_set(ck_level(rawValue: raw))
        try body(String(cString: ck_level_name(level)))
    }
}

/// Expects |actual - expected| <= tolerance * (rms of expected + |expected|) everywhere, and NaN exactly where NaN is
/// expected.
func expectClose(
    _ actual: [Double], _ expected: [Double], tolerance: Double, _ label: @autoclosure () -> String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard actual.count == expected.count else {
        Issue.record("\(label()): \(actual.count) values for \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    let finite = expected.filter { $0.isFinite }
    let rms = (finite.reduce(0) { $0 + $1 * $1 } / Double(max(finite.count, 1))).squareRoot()
    var worst = -1, worstExcess = 1.0
    for i in actual.indices {
        let a = actual[i], b = expected[i]
        if a == b || (a.isNaN && b.isNaN) { continue }
        let excess = abs(a - b) / (tolerance * (rms + abs(b)))
        if !(excess <= worstExcess) {
            worst = i
            worstExcess = excess
        }
    }
    if worst >= 0 {
        Issue.record(
            "\(label()): [\(worst)] is \(actual[worst]), expected \(expected[worst]); \(worstExcess) times the tolerance",
            sourceLocation: sourceLocation)
    }
}

func expectClose(
    _ actual: Floats, _ expected: Floats, tolerance: Double, _ label: @autoclosure () -> String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    expectClose(
        actual.values.map(Double.init), expected.values.map(Double.init), tolerance: tolerance, label(),
        sourceLocation: sourceLocation)
}

extension Int {
    var int64: Int64 { Int64(self) }
}
