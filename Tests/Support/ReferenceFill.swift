import Layers
import Tensors

/// The weights and images of the reference numbers: formulas of a key, a salt and an element's index, the same to the
/// last bit as `reference.py` that the numbers were computed with.
public enum ReferenceFill {
    /// `s(i)` for `count` elements, in [-1, 1): FNV-1a over "salt/key" seeds splitmix64.
    public static func signedUniform(_ count: Int, key: String, salt: String) -> [Float] {
        var seed: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in "\(salt)/\(key)".utf8 { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            for i in 0..<count {
                var z = seed &+ UInt64(i) &+ 0x9E37_79B9_7F4A_7C15
                z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
                z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
                z ^= z >> 31
                buffer[i] = 2 * (Float(z >> 40) * 0x1p-24) - 1
            }
            initialized = count
        }
    }

    /// `a s(i) + b`, each operation rounded on its own.
    public static func values(_ count: Int, key: String, salt: String, a: Float, b: Float) -> [Float] {
        signedUniform(count, key: key, salt: salt).map { value in
            let product = value * a
            return product + b
        }
    }

    /// Images `[N, H, W, 3]`: a board of 8 x 8 blocks per channel plus half as much noise.
    public static func images(_ batch: Int, _ height: Int, _ width: Int, salt: String) -> Tensor {
        let board = signedUniform(batch * 3 * 64, key: "board", salt: salt)
        let noise = signedUniform(batch * 3 * height * width, key: "noise", salt: salt)
        return Tensor(shape: [batch, height, width, 3]) { target in
            for n in 0..<batch {
                for c in 0..<3 {
                    for y in 0..<height {
                        for x in 0..<width {
                            let block = board[((n * 3 + c) * 8 + 8 * y / height) * 8 + 8 * x / width]
                            let half = noise[((n * 3 + c) * height + y) * width + x] * 0.5
                            target[((n * height + y) * width + x) * 3 + c] = block + half
                        }
                    }
                }
            }
        }
    }

    /// Fills the entries of a module's state dict that `rows` names, under their keys behind `prefix`.
    public static func fill(_ module: Module, rows: [GoldenFile.StateRow], prefix: String, salt: String) throws {
        var state = StateDict()
        for row in rows {
            guard let a = row.a, let b = row.b else { continue }
            state[prefix + row.key] = StateDict.Entry(shape: row.shape) { target in
                _ = target.initialize(from: values(target.count, key: row.key, salt: salt, a: a, b: b))
            }
        }
        try module.load(stateDict: state, strict: false)
    }
}
