import Tensors

/// What a loss is computed from.
public enum LossInput: String, Sendable {
    /// The classifier's output: cosines of embeddings and class weights, where both have norm 1.
    case logits
    /// The embeddings themselves, of norm 1; there is no classifier.
    case embeddings
}

/// What training makes small: a function of a recognizer's output and the labels of the batch.
public protocol TrainingLoss: Sendable {
    var input: LossInput { get }

    /// Rows of the classifier for each class; they lie together, in the classes' order.
    var centersPerClass: Int { get }

    /// The loss, a scalar: a mean over the batch.
    ///
    /// - Parameters:
    ///   - output: `[N, classes * centersPerClass]` for ``LossInput/logits``, `[N, D]` for ``LossInput/embeddings``.
    ///   - labels: the class of each row; for logits one of the classes.
    /// - Precondition: a label for each row, and at least one.
    func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor
}

extension TrainingLoss {
    public var centersPerClass: Int { 1 }
}

/// What is added to the elements that a softmax must leave out: finite, because 0 times infinity is no number.
let excluded: Float = -1e30

/// `(N, columns)` of a loss's input.
///
/// - Precondition: a matrix with one label for each of at least one row, below `classes` where they are given.
func checkedSize(_ loss: String, _ x: Tensor, labels: [Int], classes: Int? = nil) -> (rows: Int, columns: Int) {
    precondition(
        x.rank == 2 && x.shape[0] == labels.count && !labels.isEmpty,
        "\(loss): \(labels.count) labels for an output of shape \(x.shape)")
    if let classes {
        for (row, label) in labels.enumerated() {
            precondition(0..<classes ~= label, "\(loss): label \(label) of row \(row) is not one of \(classes) classes")
        }
    }
    return (x.shape[0], x.shape[1])
}

/// `[N, classes]` with `value` at each row's label and 0 elsewhere.
func atLabels(_ value: Float, _ labels: [Int], classes: Int) -> Tensor {
    Tensor(shape: [labels.count, classes]) { target in
        target.initialize(repeating: 0)
        for (row, label) in labels.enumerated() { target[row * classes + label] = value }
    }
}

extension Tensor {
    /// `log(1 + Σ exp(x))` of each row, without overflow: `[N, K]` to `[N]`.
    func logOnePlusSumExp() -> Tensor {
        // With a zero beside the row, it is minus the logarithm of the zero's softmax.
        let rows = Tensor.concatenated([self, .zeros([shape[0], 1])], axis: 1).logSoftmax()
        return -rows.sliced(axis: 1, shape[1]..<shape[1] + 1).reshaped([shape[0]])
    }
}
