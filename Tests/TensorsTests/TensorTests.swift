import Tensors
import Testing

@Suite struct TensorTests {
    @Test func broadcastingFollowsNumPy() {
        let column = Tensor([1, 2, 3], shape: [3, 1])
        let row = Tensor([10, 20], shape: [2])
        #expect((column + row).shape == [3, 2])
        #expect((column + row).scalars == [11, 21, 12, 22, 13, 23])
        #expect((row - column).scalars == [9, 19, 8, 18, 7, 17])
        let cube = Tensor((0..<24).map(Float.init), shape: [2, 3, 4])
        let middle = Tensor([0, 100, 200], shape: [3, 1])
        #expect((cube + middle).scalars[4..<8] == [104, 105, 106, 107])
        #expect((cube + middle).scalars[20..<24] == [220, 221, 222, 223])
    }

    @Test func reductionsMatchLoops() {
        let x = Tensor((0..<24).map { Float($0 * $0 % 17) }, shape: [2, 3, 4])
        for axis in 0..<3 {
            var sums = [Float](repeating: 0, count: 24 / x.shape[axis])
            let inner = x.shape[(axis + 1)...].reduce(1, *)
            for (index, value) in x.scalars.enumerated() {
                let outer = index / (inner * x.shape[axis])
                sums[outer * inner + index % inner] += value
            }
            #expect(x.sum(axes: axis).scalars == sums)
        }
        #expect(x.sum().scalar == x.scalars.reduce(0, +))
    }

    @Test func permutationMovesElements() {
        let x = Tensor((0..<6).map(Float.init), shape: [2, 3])
        #expect(x.permuted([1, 0]).scalars == [0, 3, 1, 4, 2, 5])
        let image = Tensor((0..<8).map(Float.init), shape: [1, 2, 2, 2])
        #expect(image.flattenedChannelsFirst().scalars == [0, 2, 4, 6, 1, 3, 5, 7])
    }

    @Test func crossEntropyOfUniformLogitsIsTheLogarithmOfTheClasses() {
        let loss = Tensor.zeros([2, 4]).crossEntropy([1, 3], labelSmoothing: 0.3)
        #expect(abs(loss.scalar - 1.3862944) < 1e-6)
    }

    @Test func dropoutKeepsTheMean() {
        var source = RandomSource(seed: 3)
        let dropped = Tensor.ones([100, 100]).dropout(p: 0.25, using: &source)
        #expect(abs(dropped.mean().scalar - 1) < 0.03)
        #expect(Set(dropped.scalars).count == 2)
        let rows = Tensor.ones([200, 10]).sampleDropout(p: 0.5, using: &source).scalars
        for row in 0..<200 { #expect(Set(rows[row * 10..<row * 10 + 10]).count == 1) }
    }

    @Test func resultsDoNotDependOnTheRun() {
        var source = RandomSource(seed: 5)
        let x = Tensor.random([4, 19, 23, 32], using: &source)
        let weight = Tensor.random([48, 3, 3, 32], using: &source)
        let run = { () -> [Float] in
            var gradient: Tensor?
            let y = x.conv2d(weight.watched { gradient = $0 }, Conv2dGeometry(kernel: (3, 3), padding: (1, 1)))
            y.sum().backward()
            return gradient!.scalars
        }
        #expect(run() == run())
    }

    @Test func gradientsStopWhereTheyAreDisabled() {
        let watched = Tensor.ones([2]).watched { _ in }
        #expect((watched * 2).requiresGradient)
        GradientMode.disabled { #expect(!(watched * 2).requiresGradient) }
        #expect(!watched.detached.requiresGradient)
    }

    @Test func aLongChainOfOperationsIsFreedWithoutRecursion() {
        var x = Tensor.ones([1]).watched { _ in }
        for _ in 0..<200_000 { x = x + 1 }
        #expect(x.scalar == 200_001)
    }
}
