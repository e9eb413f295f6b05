import CKernels
import Testing

extension KernelTests {
    @Suite struct Attention {
        struct Case: CustomTestStringConvertible, Sendable {
            var batch = 2
            var tokens: Int
            var heads = 2
            var depth: Int
            var isCosine = false
            var hasBias = false
            var windows = 0
            var scale: Float = 0.2
            var slack = 0
            var testDescription: String {
                "\(batch) x \(tokens) tokens, \(heads) heads of \(depth), \(isCosine ? "cosine" : "dot"), "
                    + "\(hasBias ? "bias, " : "")\(windows) masks"
            }
        }

        static let cases: [Case] = [
            .init(tokens: 1, depth: 8), .init(tokens: 7, depth: 33), .init(tokens: 49, depth: 32, hasBias: true),
            .init(batch: 4, tokens: 49, heads: 3, depth: 32, hasBias: true, windows: 2),
            .init(batch: 4, tokens: 64, depth: 32, isCosine: true, hasBias: true, windows: 4),
            .init(tokens: 50, depth: 64), .init(batch: 1, tokens: 197, heads: 1, depth: 64, slack: 5),
            .init(batch: 1, tokens: 257, heads: 1, depth: 80), .init(batch: 1, tokens: 300, heads: 2, depth: 40),
            // Large scores must not overflow.
            .init(tokens: 20, depth: 16, scale: 400), .init(batch: 2, tokens: 16, depth: 5, isCosine: true, windows: 1),
        ]

        @Test(arguments: cases) func agreesWithTheReference(_ c: Case) {
            var random = Random(c.tokens * 100 + c.depth)
            var attention = ck_attention()
            (attention.batch, attention.tokens) = (c.batch.int64, c.tokens.int64)
            (attention.heads, attention.depth) = (c.heads.int64, c.depth.int64)
            let (inner, packed) = (c.heads * c.depth, 3 * c.heads * c.depth)
            (attention.x_stride, attention.y_stride) = ((packed + c.slack).int64, (inner + c.slack).int64)
            (attention.cosine, attention.scale) = (c.isCosine, c.scale)
            (attention.has_bias, attention.has_mask) = (c.hasBias, c.windows > 0)
            attention.windows = max(1, c.windows).int64
            let rows = c.batch * c.tokens
            let x = random.floats((rows - 1) * (packed + c.slack) + packed)
            let factors = random.floats(c.heads, scale: 4)
            let bias = random.floats(c.heads * c.tokens * c.tokens, scale: 2)
            let mask = random.floats(max(1, c.windows) * c.tokens * c.tokens, scale: 3)
            // The first of several windows, as Swin's, has nothing to mask.
            if c.windows > 1 { for i in 0..<c.tokens * c.tokens { mask.pointer[i] = 0 } }
            let outputs = (rows - 1) * (inner + c.slack) + inner
            let expected = Floats(outputs, filledWith: 77)
            ck_attention_f32_ref(
                &attention, x.pointer, factors.pointer, c.hasBias ? bias.pointer : nil,
                c.windows > 0 ? mask.pointer : nil, expected.pointer)
            atEveryLevel { level in
                var first: Floats?
                for threads: Int64 in 1...3 {
                    var prepared = attention
                    ck_attention_prepare(&prepared, threads)
                    let addends = Floats(Int(ck_attention_addends(&prepared)))
                    ck_attention_pack(
                        &prepared, c.hasBias ? bias.pointer : nil, c.windows > 0 ? mask.pointer : nil, addends.pointer)
                    let memory = UnsafeMutableRawPointer.allocate(
                        byteCount: (Int(prepared.scratch) + 16) * 4, alignment: 64)
                    defer { memory.deallocate() }
                    let scratch = memory.bindMemory(to: Float.self, capacity: Int(prepared.scratch) + 16)
                    scratch.initialize(repeating: .nan, count: Int(prepared.scratch))
                    (scratch + Int(prepared.scratch)).initialize(repeating: 77, count: 16)
                    let y = Floats(outputs, filledWith: 77)
                    for part in 0..<threads {
                        ck_attention_run(
                            &prepared, x.pointer, factors.pointer, addends.pointer, y.pointer,
                            prepared.units * part / threads, prepared.units * (part + 1) / threads, scratch)
                    }
                    for i in 0..<16 { #expect(scratch[Int(prepared.scratch) + i] == 77) }
                    expectClose(y, expected, tolerance: 3e-5, "\(level), \(threads) threads: \(c.testDescription)")
                    if let first { #expect(first.values == y.values, "the result depends on the division of the work") }
                    first = first ?? y
                }
            }
        }
    }
}
