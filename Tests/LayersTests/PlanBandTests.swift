import Layers
import Plans
import Tensors
import Testing

/// Products that a plan computes for some rows of the image after the others.
@Suite struct PlanBandTests {
    /// The model's steps; and that plans on some numbers of threads compute what the model does, for some numbers of images.
    private func steps(
        _ model: Module, _ shape: [Int], threads: [Int] = [1, 2, 3], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> [String] {
        var steps: [[String]] = []
        for threads in threads {
            let plan = try makePlan(model, shape, threads: threads)
            steps.append(plan.descriptions(batch: 1).map { "\($0.kernel): \($0.detail)" })
            for batch in [1, 2, 3, 4] {
                let label = "\(threads) threads, \(batch) images"
                expectAgreement(plan, model, images([batch] + shape), label, sourceLocation: sourceLocation)
            }
        }
        #expect(Set(steps).count == 1, "\(steps)", sourceLocation: sourceLocation)
        return steps[0]
    }

    private func depthwise(_ channels: Int, _ size: Int, stride: Int = 1, dilation: Int = 1) -> Module {
        Conv2d(
            channels, channels, kernelSize: IntPair(size), stride: IntPair(stride),
            padding: IntPair(size / 2 * dilation), dilation: IntPair(dilation), groups: channels)
    }

    @Test func blocksWithResiduals() throws {
        let model = Model([
            Conv2d(8, 64, kernelSize: 1), depthwise(64, 3), Conv2d(64, 8, kernelSize: 1), ReLU(),
            Conv2d(8, 64, kernelSize: 1), depthwise(64, 5, stride: 2), Conv2d(64, 12, kernelSize: 1),
        ]) { x, m in
            let y = x + m[2](m[3](m[1](m[3](m[0](x)))))
            return m[6](m[5](m[3](m[4](y))))
        }
        let expected = [
            "bands: packed 1x1 +bias relu, depthwise 3x3 +bias relu, packed 1x1 +bias +residual",
            "bands: packed 1x1 +bias relu, depthwise 5x5 s2 +bias", "packed: 1x1 +bias",
        ]
        #expect(try steps(model, [74, 71, 8], threads: [1]) == expected)
        #expect(try steps(model, [151, 64, 8]) == expected)
    }

    /// What a band reads may all be there from the band before: one row of a wide map, near the image's lower edge.
    @Test func bandsOfOneRow() throws {
        let model = Model([Conv2d(4, 128, kernelSize: 1), depthwise(128, 7), depthwise(128, 3)]) { x, m in
            m[2](m[1](m[0](x)))
        }
        #expect(
            try steps(model, [70, 150, 4], threads: [1])
                == ["bands: packed 1x1 +bias, depthwise 7x7 +bias, depthwise 3x3 +bias"])
    }

    /// The sums of squeeze and excitation go over all bands of each thread.
    @Test func squeezeAndExcitation() throws {
        let model = Model([
            Conv2d(3, 64, kernelSize: 3, stride: 2, padding: 1), depthwise(64, 3), SiLU(), AdaptiveAvgPool2d(1),
            Conv2d(64, 64, kernelSize: 1), Conv2d(64, 16, kernelSize: 1),
        ]) { x, m in
            let y = m[2](m[1](m[0](x)))
            return m[5](y * m[4](m[3](y)))
        }
        let steps = try steps(model, [141, 137, 3])
        #expect(steps.first == "bands: packed 3x3 s2 +bias, depthwise 3x3 +bias silu")
        #expect(steps.last == "packed: 1x1 scale> +bias")
    }

    /// Rows whose elements do not follow each other: a range of channels is read, and one of a concatenation written.
    @Test func rangesOfChannels() throws {
        let model = Model([
            Conv2d(8, 72, kernelSize: 1), depthwise(72, 3, dilation: 2), Conv2d(72, 20, kernelSize: 1), ReLU(),
            Conv2d(12, 12, kernelSize: 1),
        ]) { x, m in
            let first = m[4](x)
            return Tensor.concatenated([first, m[2](m[3](m[1](m[0](x.sliced(axis: 3, 4..<12)))))], axis: 3)
        }
        let steps = try steps(model, [101, 66, 12])
        #expect(steps.contains("bands: packed 1x1 +bias, depthwise 3x3 d2 +bias relu, packed 1x1 +bias"))
    }

    /// Of a sequence every element is a row.
    @Test func sequences() throws {
        let model = Model([LayerNorm(16), Linear(16, 64), GELU(), Linear(64, 16)]) { x, m in
            x + m[3](m[2](m[1](m[0](x))))
        }
        #expect(
            try steps(model, [4223, 16])
                == ["bands: packed 1x1 layer_norm> +bias gelu, packed 1x1 +bias +residual"])
        // The rows of one are not those of the other.
        let flattened = Model([Conv2d(16, 64, kernelSize: 1), GELU(), Linear(64, 16)]) { x, m in
            m[2](m[1](m[0](x)).reshaped([x.shape[0], 65 * 67, 64]))
        }
        #expect(try steps(flattened, [65, 67, 16]).count == 2)
    }

    /// Maps that somebody else reads too, that have room in the cache, or that take long to compute anyway; weights that have
    /// no room; parts of few rows.
    @Test func whatIsComputedMapByMap() throws {
        let block = [Conv2d(8, 64, kernelSize: 1), depthwise(64, 3)]
        let plain = Model(block) { x, m in m[1](m[0](x)) }
        #expect(try steps(plain, [74, 71, 8]).count == 1)
        #expect(try steps(plain, [24, 71, 8]).count == 2)
        #expect(try steps(plain, [40, 271, 8], threads: [3]).count == 2)
        let readTwice = Model(block) { x, m in
            let y = m[0](x)
            return y + m[1](y)
        }
        #expect(try steps(readTwice, [74, 71, 8]).count == 2)
        let heavy = Model([Conv2d(64, 64, kernelSize: 1), Conv2d(64, 64, kernelSize: 1)]) { x, m in m[1](m[0](x)) }
        #expect(try steps(heavy, [74, 71, 64]).count == 2)
        let wide = Model([Conv2d(8, 6000, kernelSize: 1), Conv2d(6000, 8, kernelSize: 1)]) { x, m in m[1](m[0](x)) }
        #expect(try steps(wide, [24, 4, 8]).count == 2)
    }
}
