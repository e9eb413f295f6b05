import CKernels
import Testing

extension KernelTests {
    @Suite struct Optimizers {
        static let lengths = [0, 1, 3, 7, 8, 15, 16, 17, 33, 100]

        @Test(arguments: [(false, false), (false, true), (true, false), (true, true)])
        func sgd(nesterov: Bool, first: Bool) {
            var step = ck_sgd(learning_rate: 0.1, momentum: 0.9, weight_decay: 0.05, nesterov: nesterov, first: first)
            atEveryLevel { level in
                for n in Self.lengths {
                    var random = Random(n)
                    let gradient = random.floats(n), weights = random.floats(n), momentum = random.floats(n)
                    let (w, m) = (weights.copy, momentum.copy)
                    // What a first step must not read.
                    if first, n > 1 { m.pointer[1] = .nan }
                    ck_sgd_step_f32_ref(&step, gradient.pointer, weights.pointer, momentum.pointer, n.int64)
                    ck_sgd_step_f32(&step, gradient.pointer, w.pointer, m.pointer, n.int64)
                    expectClose(w, weights, tolerance: 1e-6, "weights of \(n), \(level)")
                    expectClose(m, momentum, tolerance: 1e-6, "momentum of \(n), \(level)")
                }
            }
        }

        @Test func sgdWithoutMomentum() {
            var step = ck_sgd(learning_rate: 0.1, momentum: 0, weight_decay: 0.05, nesterov: false, first: false)
            atEveryLevel { level in
                for n in Self.lengths {
                    var random = Random(n)
                    let gradient = random.floats(n), weights = random.floats(n), w = weights.copy
                    ck_sgd_step_f32_ref(&step, gradient.pointer, weights.pointer, nil, n.int64)
                    ck_sgd_step_f32(&step, gradient.pointer, w.pointer, nil, n.int64)
                    expectClose(w, weights, tolerance: 1e-6, "weights of \(n), \(level)")
                }
            }
        }

        @Test(arguments: [(Float(0.1), Float(1)), (0, 0.99)]) func adam(gradientDecay: Float, kept: Float) {
            var step = ck_adam(
                step_size: 0.02, beta2: 0.95, new1: 0.2, new2: 0.05, root_scale: 3, eps: 1e-3,
                gradient_decay: gradientDecay, kept: kept)
            atEveryLevel { level in
                for n in Self.lengths {
                    var random = Random(n)
                    let gradient = random.floats(n), weights = random.floats(n), mean = random.floats(n)
                    let square = Floats(random.floats(n).values.map { $0 * $0 })
                    let (w, m, v) = (weights.copy, mean.copy, square.copy)
                    ck_adam_step_f32_ref(
                        &step, gradient.pointer, weights.pointer, mean.pointer, square.pointer, n.int64)
                    ck_adam_step_f32(&step, gradient.pointer, w.pointer, m.pointer, v.pointer, n.int64)
                    expectClose(w, weights, tolerance: 1e-6, "weights of \(n), \(level)")
                    expectClose(m, mean, tolerance: 1e-6, "mean of \(n), \(level)")
                    expectClose(v, square, tolerance: 1e-6, "square of \(n), \(level)")
                }
            }
        }

        @Test(arguments: [Float(0), 0.01, 0.5, 0.9, 1]) func lerp(weight: Float) {
            atEveryLevel { level in
                for n in Self.lengths {
                    var random = Random(n)
                    let x = random.floats(n), y = random.floats(n)
                    let expected = Floats(zip(x.values, y.values).map { (1 - weight) * $1 + weight * $0 })
                    ck_lerp_f32(weight, x.pointer, y.pointer, n.int64)
                    let tolerance = weight == 0 || weight == 1 ? 0 : 1e-6
                    expectClose(y, expected, tolerance: tolerance, "\(n), \(level)")
                }
            }
        }
    }
}
