/// NumPy's legacy generator, `numpy.random.RandomState(seed)`: MT19937 (Matsumoto and Nishimura, 1998), and of what
/// NumPy draws from it, shuffling. The same seed gives the same order as in Python.
struct NumpyRandom {
    private var state: [UInt32]
    private var position = 624

    /// As `numpy.random.seed(seed)`.
    init(seed: UInt32) {
        state = [seed]
        for index in 1..<624 {
            let last = state[index - 1]
            state.append(1_812_433_253 &* (last ^ last >> 30) &+ UInt32(index))
        }
    }

    mutating func next() -> UInt32 {
        if position == 624 { advance() }
        var y = state[position]
        position += 1
        y ^= y >> 11
        y ^= y << 7 & 0x9D2C_5680
        y ^= y << 15 & 0xEFC6_0000
        return y ^ y >> 18
    }

    private mutating func advance() {
        for index in 0..<624 {
            let y = state[index] & 0x8000_0000 | state[(index + 1) % 624] & 0x7FFF_FFFF
            state[index] = state[(index + 397) % 624] ^ y >> 1 ^ (y & 1 == 1 ? 0x9908_B0DF : 0)
        }
        position = 0
    }

    /// A number from 0 to `bound`, itself included: NumPy's `random_interval`.
    private mutating func number(upTo bound: UInt32) -> UInt32 {
        guard bound > 0 else { return 0 }
        let mask = UInt32.max >> bound.leadingZeroBitCount
        while true {
            let value = next() & mask
            if value <= bound { return value }
        }
    }

    /// As `RandomState.shuffle`.
    mutating func shuffle<Element>(_ elements: inout [Element]) {
        for index in stride(from: elements.count - 1, to: 0, by: -1) {
            elements.swapAt(index, Int(number(upTo: UInt32(index))))
        }
    }

    /// As `RandomState.permutation(count)`, which is what `pandas.DataFrame.sample(frac=1)` draws.
    mutating func permutation(_ count: Int) -> [Int] {
        var result = Array(0..<count)
        shuffle(&result)
        return result
    }
}
