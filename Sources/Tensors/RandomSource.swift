#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A seedable source of random numbers: xoshiro256**, seeded by splitmix64 (Blackman and Vigna,
/// https://prng.di.unimi.it). The same seed gives the same numbers on every machine.
public struct RandomSource: RandomNumberGenerator, Sendable, Hashable {
    private var state: (UInt64, UInt64, UInt64, UInt64)
    /// The second value of the last Box-Muller pair.
    private var spare: Double?

    public init(seed: UInt64) {
        var mixer = seed
        func next() -> UInt64 {
            mixer &+= 0x9E37_79B9_7F4A_7C15
            var z = mixer
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        state = (next(), next(), next(), next())
    }

    public mutating func next() -> UInt64 {
        func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }
        let result = rotate(state.1 &* 5, 7) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotate(state.3, 45)
        return result
    }

    /// A number in [0, 1) with 53 random bits.
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A number from the standard normal distribution (Box-Muller).
    public mutating func normal() -> Double {
        if let value = spare {
            spare = nil
            return value
        }
        let radius = (-2 * log(1 - uniform())).squareRoot()
        let angle = 2 * Double.pi * uniform()
        spare = radius * sin(angle)
        return radius * cos(angle)
    }

    /// A number in `0 ..< count`, each as likely as the others (Lemire, arXiv 1805.10941).
    ///
    /// Like ``shuffled(_:)`` it is written out here, because what the standard library draws may change with its version,
    /// and a training run must be able to go on where it stopped.
    ///
    /// - Precondition: `count` is positive.
    public mutating func index(below count: Int) -> Int {
        precondition(count > 0, "RandomSource: an index below \(count)")
        let bound = UInt64(count)
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let rest = (0 &- bound) % bound
            while product.low < rest { product = next().multipliedFullWidth(by: bound) }
        }
        return Int(product.high)
    }

    /// The elements in an order of which each is as likely as the others.
    public mutating func shuffled<Element>(_ elements: some Sequence<Element>) -> [Element] {
        var result = Array(elements)
        for place in result.indices.dropLast() { result.swapAt(place, place + index(below: result.count - place)) }
        return result
    }

    public static func == (a: RandomSource, b: RandomSource) -> Bool { a.state == b.state && a.spare == b.spare }

    public func hash(into hasher: inout Hasher) {
        for word in [state.0, state.1, state.2, state.3] { hasher.combine(word) }
        hasher.combine(spare)
    }
}

extension RandomSource: Codable {
    private enum CodingKeys: CodingKey { case state, spare }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let words = try values.decode([UInt64].self, forKey: .state)
        guard words.count == 4 else {
            throw DecodingError.dataCorruptedError(
                forKey: .state, in: values, debugDescription: "\(words.count) words of state, expected 4")
        }
        state = (words[0], words[1], words[2], words[3])
        spare = try values.decodeIfPresent(UInt64.self, forKey: .spare).map(Double.init(bitPattern:))
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode([state.0, state.1, state.2, state.3], forKey: .state)
        try values.encodeIfPresent(spare?.bitPattern, forKey: .spare)
    }
}
