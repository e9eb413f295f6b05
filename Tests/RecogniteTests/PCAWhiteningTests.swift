import Foundation
import Recognite
import Testing

@Suite struct PCAWhiteningTests {
    /// 12 embeddings of 4 features.
    private static let embeddings = Tensor(
        (0..<48).map { (i: Int) -> Float in
            let value: Int = (i * i * 37 + i * 11) % 127 - 63
            return Float(value) / 64
        }, shape: [12, 4])

    /// The numbers are numpy's:
    ///
    ///     x = ((np.arange(48) ** 2 * 37 + np.arange(48) * 11) % 127 - 63).reshape(12, 4) / 64
    ///     w, v = np.linalg.eigh(np.cov(x.T))
    ///     v = v * np.sign(v[np.abs(v).argmax(0), range(4)])
    ///     y = (x - x.mean(0)) @ (v / np.sqrt(w + 1e-9))[:, ::-1]
    private static let mean: [Float] = [0.0976562, -0.1731771, 0.0507812, 0.2734375]
    private static let whitened: [(row: Int, values: [Float])] = [
        (0, [-1.329859, 0.330278, 1.016785, -0.15049]), (5, [0.182869, 1.83099, -0.97195, 1.051513]),
        (11, [0.418224, -1.168971, -0.152429, 1.517812]),
    ]

    @Test func numbersAreNumpys() throws {
        let whitening = try PCAWhitening(fittedTo: Self.embeddings)
        #expect(whitening.inputSize == 4 && whitening.dimension == 4)
        for (got, expected) in zip(whitening.mean.scalars, Self.mean) { #expect(abs(got - expected) < 1e-6) }
        let output = whitening(Self.embeddings)
        #expect(output.shape == [12, 4])
        for (row, values) in Self.whitened {
            for (got, expected) in zip(output.scalars[row * 4..<row * 4 + 4], values) {
                #expect(abs(got - expected) < 5e-6, "row \(row): \(got), expected \(expected)")
            }
        }
    }

    @Test func fewerDimensionsAreTheFirstOfAll() throws {
        let all = try PCAWhitening(fittedTo: Self.embeddings)
        let some = try PCAWhitening(fittedTo: Self.embeddings, dimension: 2)
        #expect(some.projection.shape == [2, 4])
        #expect(some.projection.scalars == Array(all.projection.scalars.prefix(8)))
        let unit = EmbeddingDescriptor(whitening: all).finished(Self.embeddings)
        // Row 5 over its norm, by numpy.
        for (got, expected) in zip(unit.scalars[20..<24], [0.078431, 0.785295, -0.416861, 0.450984] as [Float]) {
            #expect(abs(got - expected) < 5e-6, "\(got), expected \(expected)")
        }
    }

    /// Correlated embeddings around a mean that is not 0: more than one block of rows.
    private static func correlated(_ count: Int, _ size: Int) -> Tensor {
        var source = RandomSource(seed: 21)
        let mixing = (0..<size * size).map { _ in source.normal() }
        var scalars: [Float] = []
        for _ in 0..<count {
            let normals = (0..<size).map { _ in source.normal() }
            for row in 0..<size {
                let mixed = (0..<size).reduce(0.5 * Double(row)) { sum, column in
                    sum + mixing[row * size + column] * normals[column]
                }
                scalars.append(Float(mixed))
            }
        }
        return Tensor(scalars, shape: [count, size])
    }

    @Test(arguments: [nil, 5] as [Int?]) func whitenedEmbeddingsAreUncorrelated(dimension: Int?) throws {
        let (count, size) = (1500, 10)
        let x = Self.correlated(count, size)
        let whitening = try PCAWhitening(fittedTo: x, dimension: dimension)
        let y = whitening(x)
        let width = dimension ?? size
        #expect(y.shape == [count, width])
        let scalars = y.scalars.map(Double.init)
        for a in 0..<width {
            let mean = (0..<count).reduce(0.0) { $0 + scalars[$1 * width + a] } / Double(count)
            #expect(abs(mean) < 1e-4)
            for b in 0..<width {
                let product = (0..<count).reduce(0.0) { $0 + scalars[$1 * width + a] * scalars[$1 * width + b] }
                let covariance = product / Double(count - 1)
                #expect(abs(covariance - (a == b ? 1 : 0)) < 1e-3, "covariance of \(a) and \(b): \(covariance)")
            }
        }
        // Whitening to other axes than those of the largest variances would pass so far.
        let norms = (0..<width).map { row in
            whitening.projection.scalars[row * size..<row * size + size].reduce(0) { $0 + $1 * $1 }
        }
        #expect(norms == norms.sorted())
        for row in 0..<width {
            let values = whitening.projection.scalars[row * size..<row * size + size]
            #expect(values.max { abs($0) < abs($1) }! > 0)
        }
    }

    @Test func epsKeepsConstantFeaturesSmall() throws {
        let scalars: [Float] = (0..<30).flatMap { (i: Int) -> [Float] in [Float(i % 7), Float(i % 5), 2] }
        let x = Tensor(scalars, shape: [30, 3])
        let y = try PCAWhitening(fittedTo: x)(x)
        for row in 0..<30 { #expect(abs(y.scalars[row * 3 + 2]) < 1e-2) }
        #expect(throws: WhiteningError.noVariance(direction: 2)) { try PCAWhitening(fittedTo: x, eps: 0) }
    }

    @Test func setsThatDoNotDoAreNamed() {
        let x = Self.embeddings
        #expect(throws: WhiteningError.tooFewEmbeddings(4, dimension: 4)) {
            try PCAWhitening(fittedTo: x.sliced(axis: 0, 0..<4))
        }
        #expect(throws: WhiteningError.tooFewEmbeddings(1, dimension: 1)) {
            try PCAWhitening(fittedTo: x.sliced(axis: 0, 0..<1), dimension: 1)
        }
        #expect(throws: WhiteningError.dimension(5, embeddingSize: 4)) { try PCAWhitening(fittedTo: x, dimension: 5) }
        #expect(throws: WhiteningError.dimension(0, embeddingSize: 4)) { try PCAWhitening(fittedTo: x, dimension: 0) }
        var scalars = x.scalars
        scalars[30] = .nan
        #expect(throws: WhiteningError.notFinite(row: 7)) {
            try PCAWhitening(fittedTo: Tensor(scalars, shape: [12, 4]))
        }
        #expect("\(WhiteningError.tooFewEmbeddings(4, dimension: 4))".contains("at least 5"))
    }
}
