import CLAPACKE
import Tensors

/// A change of axes that makes embeddings uncorrelated and of variance 1, and may leave out the directions in which
/// they vary least: y = diag(1 / √(λ + eps)) Vᵀ (x - mean), with the eigenvalues λ and eigenvectors V of the covariance
/// of a set of embeddings. Jégou, Chum: Negative evidences and co-occurrences in image retrieval, ECCV 2012.
public struct PCAWhitening: Sendable {
    /// The mean of the set, `[D]`.
    public let mean: Tensor
    /// diag(1 / √(λ + eps)) Vᵀ, `[D', D]`: the rows by falling eigenvalue. Each row's component of the largest
    /// magnitude is positive, so that the same set always gives the same result.
    public let projection: Tensor

    /// The number of features of what it is applied to.
    public var inputSize: Int { projection.shape[1] }
    /// The number of features of the result.
    public var dimension: Int { projection.shape[0] }

    /// - Precondition: `mean` is `[D]` and `projection` `[D', D]`, with `1 <= D' <= D`.
    public init(mean: Tensor, projection: Tensor) {
        precondition(
            Self.areShapes(mean: mean.shape, projection: projection.shape),
            "PCAWhitening: a mean of shape \(mean.shape) and a projection of shape \(projection.shape)")
        self.mean = mean.detached
        self.projection = projection.detached
    }

    static func areShapes(mean: [Int], projection: [Int]) -> Bool {
        mean.count == 1 && projection.count == 2 && projection[1] == mean[0] && projection[0] > 0
            && projection[0] <= mean[0]
    }

    /// The whitening of a set of embeddings. Mean, covariance (divided by N - 1) and eigenvectors are computed in
    /// double precision.
    ///
    /// - Parameters:
    ///   - embeddings: `[N, D]`.
    ///   - dimension: how many directions are kept, those of the largest variance; `nil`: all D.
    ///   - eps: what is added to the variances, so that those near 0 are not blown up; the default suits embeddings of
    ///     about norm 1.
    /// - Throws: ``WhiteningError`` for fewer than `dimension + 1` embeddings, more directions than D, or embeddings
    ///   that are not finite.
    public init(fittedTo embeddings: Tensor, dimension: Int? = nil, eps: Double = 1e-9) throws(WhiteningError) {
        precondition(embeddings.rank == 2, "PCAWhitening: embeddings of shape \(embeddings.shape), expected [N, D]")
        precondition(eps >= 0 && eps.isFinite, "PCAWhitening: eps \(eps)")
        let (count, size) = (embeddings.shape[0], embeddings.shape[1])
        let kept = dimension ?? size
        guard kept > 0, kept <= size else { throw .dimension(kept, embeddingSize: size) }
        // The mean takes one away: N embeddings vary in at most N - 1 directions.
        guard count > kept else { throw .tooFewEmbeddings(count, dimension: kept) }
        let bad = embeddings.withUnsafeScalars { scalars in scalars.firstIndex { !$0.isFinite } }
        if let bad { throw .notFinite(row: bad / size) }

        let (means, covariances) = embeddings.columnMeansAndCovariances()
        var vectors = covariances
        var values = [Double](repeating: 0, count: size)
        let status = LAPACKE_dsyevd(
            LAPACK_ROW_MAJOR, CChar(UInt8(ascii: "V")), CChar(UInt8(ascii: "U")), Int32(size), &vectors, Int32(size),
            &values)
        guard status == 0 else { throw .noConvergence(status: Int(status)) }

        // What is less than this is a rounded 0.
        let rounding = values[size - 1] * Double(size) * .ulpOfOne
        // LAPACK's eigenvalues rise, and the eigenvectors are columns.
        var rows: [Float] = []
        rows.reserveCapacity(kept * size)
        for column in stride(from: size - 1, through: size - kept, by: -1) {
            let vector = (0..<size).map { vectors[$0 * size + column] }
            let largest = vector.reduce(0) { $1.magnitude > $0.magnitude ? $1 : $0 }
            let deviation = ((values[column] > rounding ? values[column] : 0) + eps).squareRoot()
            guard deviation > 0 else { throw .noVariance(direction: size - 1 - column) }
            let factor = (largest < 0 ? -1 : 1) / deviation
            rows += vector.map { Float($0 * factor) }
        }
        self.init(mean: Tensor(means.map { Float($0) }, shape: [size]), projection: Tensor(rows, shape: [kept, size]))
    }

    /// The whitened embeddings: `[N, D]` to `[N, D']`. A gradient flows through.
    ///
    /// - Precondition: D is ``inputSize``.
    public func callAsFunction(_ embeddings: Tensor) -> Tensor {
        precondition(
            embeddings.rank == 2 && embeddings.shape[1] == inputSize,
            "PCAWhitening: embeddings of shape \(embeddings.shape), fitted to \(inputSize) features")
        return (embeddings - mean).linear(projection)
    }
}

/// A set of embeddings that no whitening can be fitted to.
public enum WhiteningError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Too few embeddings for so many directions.
    case tooFewEmbeddings(Int, dimension: Int)
    /// A number of directions that is not from 1 to that of the features.
    case dimension(Int, embeddingSize: Int)
    /// An embedding with a NaN or an infinity.
    case notFinite(row: Int)
    /// The embeddings do not vary at all in the direction of this number, and no eps was given.
    case noVariance(direction: Int)
    /// LAPACK found no eigenvectors.
    case noConvergence(status: Int)

    public var description: String {
        switch self {
        case .tooFewEmbeddings(let count, let dimension):
            "\(count) embeddings are too few for a whitening to \(dimension) dimensions: at least \(dimension + 1) are "
                + "needed"
        case .dimension(let dimension, let size):
            "a whitening to \(dimension) dimensions of embeddings with \(size)"
        case .notFinite(let row): "the embedding of row \(row) is not finite"
        case .noVariance(let direction):
            "the embeddings vary in \(direction) directions only: whiten to fewer dimensions, or with an eps"
        case .noConvergence(let status): "LAPACK's dsyevd found no eigenvectors (status \(status))"
        }
    }
}
