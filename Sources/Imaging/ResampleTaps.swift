import CImaging

/// Which input positions make up each output position along one axis, and with which weights.
///
/// Pillow's `precompute_coeffs`, which torch's antialiased interpolation follows too: with `T` = `Double` the weights
/// are Pillow's, with `T` = `Float` torch's.
struct ResampleTaps<Weight> {
    /// For each output position the first input position.
    private(set) var first: [Int32] = []
    /// For each output position how many input positions count.
    private(set) var used: [Int32] = []
    /// `stride` weights for each output position; zero beyond those used.
    private(set) var weights: [Weight]
    let stride: Int
}

extension ResampleTaps {
    /// The same taps with input positions counted from `origin`.
    func counted(from origin: Int) -> ResampleTaps {
        var taps = self
        taps.first = first.map { $0 - Int32(origin) }
        return taps
    }
}

extension ResampleTaps where Weight: BinaryFloatingPoint {
    /// The taps of the output positions in `range`.
    init(from inSize: Int, to outSize: Int, range: Range<Int>, interpolation: Interpolation) {
        let scale = Weight(inSize) / Weight(outSize)
        let filterScale = max(scale, 1)
        let support = Weight(interpolation.support) * filterScale
        let inverse = 1 / filterScale
        // One more than can be used where that is odd: the kernels take two taps at a time.
        stride = Int(support.rounded(.up)) * 2 + 2
        weights = [Weight](repeating: 0, count: range.count * stride)
        for (row, i) in range.enumerated() {
            let center = (Weight(i) + 0.5) * scale
            let start = max(0, Int(center - support + 0.5))
            let count = min(inSize, Int(center + support + 0.5)) - start
            var total: Weight = 0
            for k in 0..<count {
                let weight = interpolation.weight(at: (Weight(k + start) - center + 0.5) * inverse)
                weights[row * stride + k] = weight
                total += weight
            }
            if total != 0 {
                for k in 0..<count { weights[row * stride + k] /= total }
            }
            first.append(Int32(start))
            used.append(Int32(count))
        }
    }

    /// The input positions that any of the taps reads.
    var inputRange: Range<Int> {
        Int(first[0])..<Int(first[first.count - 1] + used[used.count - 1])
    }
}

extension ResampleTaps<Int32> {
    /// The weights in fixed point, rounded half away from zero as Pillow does.
    init(_ taps: ResampleTaps<Double>) {
        let one = Double(1 << CI_WEIGHT_BITS)
        first = taps.first
        used = taps.used
        weights = taps.weights.map { Int32($0 < 0 ? -0.5 + $0 * one : 0.5 + $0 * one) }
        stride = taps.stride
    }

    func withCTaps(_ body: (ci_taps_u8) -> Void) {
        first.withUnsafeBufferPointer { first in
            used.withUnsafeBufferPointer { used in
                weights.withUnsafeBufferPointer { weights in
                    body(
                        ci_taps_u8(
                            first: first.baseAddress, used: used.baseAddress, weights: weights.baseAddress,
                            stride: Int64(stride)))
                }
            }
        }
    }
}

extension ResampleTaps<Float> {
    func withCTaps(_ body: (ci_taps_f32) -> Void) {
        first.withUnsafeBufferPointer { first in
            used.withUnsafeBufferPointer { used in
                weights.withUnsafeBufferPointer { weights in
                    body(
                        ci_taps_f32(
                            first: first.baseAddress, used: used.baseAddress, weights: weights.baseAddress,
                            stride: Int64(stride)))
                }
            }
        }
    }
}
