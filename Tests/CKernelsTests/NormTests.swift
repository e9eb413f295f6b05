import CKernels
import Testing

extension KernelTests {
    @Suite struct Norm {
        /// Rows and channels around the vector widths, the strips of columns and the blocks of rows.
        static let sizes: [[Int]] = [
            [1, 1], [1, 3], [3, 1], [2, 5], [7, 8], [5, 16], [4, 17], [63, 12], [64, 33], [65, 7], [131, 24], [9, 100],
            [6, 511], [5, 513], [67, 530],
        ]

        @Test(arguments: sizes)
        func batchNorm(_ size: [Int]) {
            let rows = size[0], channels = size[1], label = "\(rows)x\(channels)"
            var random = Random(rows * 1000 + channels)
            let x = random.floats(rows * channels, scale: 3)
            let a = random.floats(channels), b = random.floats(channels)
            let r = rows.int64, c = channels.int64
            atEveryLevel { level in
                for raw in CK_RELU.rawValue...CK_IDENTITY.rawValue {
                    let activation = ck_activation(rawValue: raw), expected = Floats(x.count), y = x.copy
                    ck_channel_affine_f32_ref(x.pointer, a.pointer, b.pointer, activation, r, c, expected.pointer)
                    ck_channel_affine_f32(y.pointer, a.pointer, b.pointer, activation, r, c, y.pointer)
                    expectClose(y, expected, tolerance: 1e-6, "channel affine \(label), \(raw), \(level)")
                }
                var sums = doubles(channels), dots = doubles(channels), expectedSums = sums, expectedDots = dots
                ck_shifted_moments_f32(x.pointer, a.pointer, r, c, &sums, &dots)
                ck_shifted_moments_f32_ref(x.pointer, a.pointer, r, c, &expectedSums, &expectedDots)
                expectClose(sums, expectedSums, tolerance: 1e-6, "moments' sums \(label), \(level)")
                expectClose(dots, expectedDots, tolerance: 1e-6, "moments' squares \(label), \(level)")
            }
        }

        /// With each activation behind it: as the activation's own backward, and then the batch norm's.
        @Test(arguments: sizes)
        func batchNormBackward(_ size: [Int]) {
            let rows = size[0], channels = size[1], r = rows.int64, c = channels.int64, count = rows * channels
            var random = Random(rows * 1000 + channels + 1)
            let x = random.floats(count, scale: 3), dy = random.floats(count), mean = random.floats(channels)
            let a = random.floats(channels), b = random.floats(channels), d = random.floats(channels)
            let scale = random.floats(channels, scale: 2), shift = random.floats(channels)
            atEveryLevel { level in
                for raw in CK_RELU.rawValue...CK_IDENTITY.rawValue {
                    let activation = ck_activation(rawValue: raw), label = "\(rows)x\(channels), \(raw), \(level)"
                    let z = Floats(count), dz = Floats(count), dx = dy.copy
                    ck_channel_affine_f32(x.pointer, scale.pointer, shift.pointer, CK_IDENTITY, r, c, z.pointer)
                    ck_activation_backward_f32_ref(activation, z.pointer, dy.pointer, dz.pointer, count.int64)
                    var gradient = ck_batch_norm_gradient(
                        x: x.pointer, dy: dy.pointer, activation: activation, scale: scale.pointer,
                        shift: shift.pointer)
                    var sums = doubles(channels), dots = sums, expectedSums = sums, expectedDots = sums
                    ck_batch_norm_backward_sums_f32(&gradient, mean.pointer, r, c, &sums, &dots)
                    ck_batch_norm_backward_sums_f32_ref(
                        x.pointer, mean.pointer, dz.pointer, r, c, &expectedSums, &expectedDots)
                    expectClose(sums, expectedSums, tolerance: 4e-6, "backward sums \(label)")
                    expectClose(dots, expectedDots, tolerance: 4e-6, "backward dots \(label)")
                    gradient.dy = UnsafePointer(dx.pointer)
                    ck_batch_norm_backward_f32(&gradient, a.pointer, b.pointer, d.pointer, r, c, dx.pointer)
                    let expected = (0..<count).map { i in
                        let k = i % channels
                        return a.pointer[k] * dz.pointer[i] + b.pointer[k] * x.pointer[i] + d.pointer[k]
                    }
                    expectClose(dx, Floats(expected), tolerance: 4e-6, "backward \(label)")
                }
            }
        }

        @Test func reluKeepsNaN() {
            let one = Floats(19, filledWith: 1), zero = Floats(19), x = Floats(19, filledWith: .nan), y = Floats(19)
            atEveryLevel { level in
                ck_channel_affine_f32(x.pointer, one.pointer, zero.pointer, CK_RELU, 1, 19, y.pointer)
                expectClose(y, x, tolerance: 0, level)
            }
        }

        /// Not of one channel, whose gradient is 0 but for rounding: nothing to be close to.
        @Test(arguments: sizes.filter { $0[1] > 1 })
        func layerNorm(_ size: [Int]) {
            let rows = size[0], channels = size[1], r = rows.int64, c = channels.int64
            var random = Random(rows * 1000 + channels)
            let x = random.floats(rows * channels, scale: 3), dy = random.floats(rows * channels)
            for i in 0..<x.count { x.pointer[i] += 5 }
            let weights = random.floats(channels), biases = random.floats(channels)
            atEveryLevel { level in
                for affine in [true, false] {
                    let label = "\(rows)x\(channels)\(affine ? "" : " without weights"), \(level)"
                    let weight = affine ? weights.pointer : nil, bias = affine ? biases.pointer : nil
                    let y = x.copy, mean = Floats(rows), rstd = Floats(rows)
                    let expected = Floats(x.count), expectedMean = Floats(rows), expectedRstd = Floats(rows)
                    ck_layer_norm_forward_f32(
                        y.pointer, weight, bias, 0.01, r, c, y.pointer, mean.pointer, rstd.pointer)
                    ck_layer_norm_forward_f32_ref(
                        x.pointer, weight, bias, 0.01, r, c, expected.pointer, expectedMean.pointer,
                        expectedRstd.pointer)
                    expectClose(y, expected, tolerance: 4e-6, "layer norm \(label)")
                    expectClose(mean, expectedMean, tolerance: 1e-6, "layer norm's mean \(label)")
                    expectClose(rstd, expectedRstd, tolerance: 2e-6, "layer norm's rstd \(label)")
                    ck_layer_norm_forward_f32(x.pointer, weight, bias, 0.01, r, c, y.pointer, nil, nil)
                    expectClose(y, expected, tolerance: 4e-6, "layer norm without statistics \(label)")

                    let dx = dy.copy, expectedGradient = Floats(x.count)
                    var dw = doubles(channels), db = dw, expectedDw = dw, expectedDb = dw
                    ck_layer_norm_backward_f32(
                        x.pointer, weight, expectedMean.pointer, expectedRstd.pointer, dx.pointer, r, c, dx.pointer,
                        &dw, &db)
                    ck_layer_norm_backward_f32_ref(
                        x.pointer, weight, expectedMean.pointer, expectedRstd.pointer, dy.pointer, r, c,
                        expectedGradient.pointer, &expectedDw, &expectedDb)
                    expectClose(dx, expectedGradient, tolerance: 4e-6, "layer norm's gradient \(label)")
                    expectClose(dw, expectedDw, tolerance: 4e-6, "layer norm's weight gradient \(label)")
                    expectClose(db, expectedDb, tolerance: 1e-6, "layer norm's bias gradient \(label)")
                    ck_layer_norm_backward_f32(
                        x.pointer, weight, expectedMean.pointer, expectedRstd.pointer, dy.pointer, r, c, dx.pointer,
                        nil, nil)
                    expectClose(dx, expectedGradient, tolerance: 4e-6, "layer norm's gradient alone \(label)")
                }
            }
        }

        /// The reference's backward against differences of its forward.
        @Test func layerNormBackwardIsTheDerivative() {
            let rows: Int64 = 3, channels: Int64 = 7, count = 21
            var random = Random(11)
            let x = random.floats(count), weight = random.floats(7), bias = random.floats(7), dy = random.floats(count)
            let mean = Floats(3), rstd = Floats(3), y = Floats(count), dx = Floats(count)
            func objective() -> Double {
                ck_layer_norm_forward_f32_ref(
                    x.pointer, weight.pointer, bias.pointer, 1e-5, rows, channels, y.pointer, mean.pointer,
                    rstd.pointer)
                return zip(y.values, dy.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            }
            _ = objective()
            var dw = [Double](repeating: 0, count: 7), db = dw
            ck_layer_norm_backward_f32_ref(
                x.pointer, weight.pointer, mean.pointer, rstd.pointer, dy.pointer, rows, channels, dx.pointer, &dw,
                &db)
            func differences(_ parameter: Floats) -> [Double] {
                (0..<parameter.count).map { i in
                    let value = parameter.pointer[i], step: Float = 1.0 / 256
                    parameter.pointer[i] = value + step
                    let up = objective()
                    parameter.pointer[i] = value - step
                    let down = objective()
                    parameter.pointer[i] = value
                    return (up - down) / Double(2 * step)
                }
            }
            expectClose(dx.values.map(Double.init), differences(x), tolerance: 1e-3, "input gradient")
            expectClose(dw, differences(weight), tolerance: 1e-3, "weight gradient")
            expectClose(db, differences(bias), tolerance: 1e-3, "bias gradient")
        }
    }
}

/// Doubles that are not 0, to see that sums are added to what is there.
func doubles(_ count: Int) -> [Double] { (0..<count).map { Double($0 % 3) } }

/// Holds two accumulations into doubles against each other.
func expectSums(
    _ label: String, _ count: Int, sourceLocation: SourceLocation = #_sourceLocation,
    _ reference: (UnsafeMutablePointer<Double>) -> Void, _ kernel: (UnsafeMutablePointer<Double>) -> Void
) {
    var expected = doubles(count), actual = expected
    reference(&expected)
    kernel(&actual)
    expectClose(actual, expected, tolerance: 1e-6, label, sourceLocation: sourceLocation)
}
