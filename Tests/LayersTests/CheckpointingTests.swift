import Layers
import Tensors
import Testing

/// Activations that are computed twice instead of kept.
@Suite struct CheckpointingTests {
    /// Convolution, batch norm, activation, dropout.
    private static func block(_ inputs: Int) -> Sequential {
        Sequential([
            Conv2d(inputs, 6, kernelSize: 3, padding: 1, bias: false), BatchNorm2d(6), ReLU(), Dropout(p: 0.4),
        ])
    }

    /// A training step's output, gradients and new state, and the random number that comes next.
    private static func step(checkpointed: [Int], frozen: [Int] = []) throws -> [[Float]] {
        try withRandomSeed(11) {
            let inner = block(6)
            let blocks = [block(3), Sequential([block(6), inner]), block(6)]
            let model = Sequential(blocks)
            for index in checkpointed { blocks[index].checkpointsActivations = true }
            // One checkpoint within another.
            if checkpointed.contains(1) { inner.checkpointsActivations = true }
            for index in frozen { blocks[index].freeze() }
            var source = RandomSource(seed: 2)
            let x = Tensor(shape: [2, 5, 7, 3]) { target in
                for index in target.indices { target[index] = Float(source.normal()) }
            }
            let output = model(x)
            output.squared().sum().backward()
            let next = Float(RandomStream.current.withSource { $0.uniform() })
            return try [output.scalars, [next]] + model.parameters().map { $0.gradient?.scalars ?? [] }
                + model.stateDict().map { _, entry in
                    try entry.dtype == .int64 ? entry.integers().map { Float($0) } : entry.tensor().scalars
                }
        }
    }

    @Test(arguments: [[0], [1], [2], [0, 1, 2]]) func nothingChangesToTheLastBit(_ checkpointed: [Int]) throws {
        let expected = try Self.step(checkpointed: [])
        #expect(expected.count > 20 && expected[0].contains(0))
        #expect(try Self.step(checkpointed: checkpointed) == expected)
    }

    @Test func frozenParametersGetNoGradients() throws {
        #expect(
            try Self.step(checkpointed: [0, 1, 2], frozen: [0, 1]) == Self.step(checkpointed: [], frozen: [0, 1]))
    }

    @Test func blocksAreTheElementsOfTheOutermostSequences() {
        let inner = Sequential([Self.block(6)])
        let model = Sequential([Conv2d(3, 6, kernelSize: 1), Self.block(6), inner])
        model.checkpointBlocks()
        let paths = { model.namedModules.filter { $0.module.checkpointsActivations }.map(\.path) }
        #expect(paths() == [["1"], ["2"]])
        model.checkpointBlocks(false)
        #expect(paths().isEmpty)
    }
}
