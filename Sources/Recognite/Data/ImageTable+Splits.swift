/// A division that the rows do not allow.
public struct SplitError: Error, CustomStringConvertible {
    public let description: String
}

extension ImageTable {
    /// Divides the rows by their labels, so that no label is on both sides. The labels are shuffled and cut into folds of
    /// about the same number of labels; one fold is for validation.
    ///
    /// The same rows as the reference's `k_fold_trainval_split` gives.
    ///
    /// - Parameters:
    ///   - validationFold: which fold is for validation, from 0; `nil`: none, all rows are for training.
    ///   - seed: of NumPy's generator.
    /// - Throws: ``SplitError`` for a fold that does not exist, or more folds than labels.
    public func kFoldSplit(
        folds: Int = 5, validationFold: Int? = 0, seed: UInt32 = 0
    ) throws(SplitError) -> (train: ImageTable, validation: ImageTable) {
        guard let validationFold else { return (self, ImageTable(rows: [])) }
        guard folds > 0, (0..<folds).contains(validationFold) else {
            throw SplitError(description: "no fold \(validationFold) among \(folds), which are counted from 0")
        }
        var labels = labels
        guard labels.count >= folds else {
            throw SplitError(description: "\(labels.count) labels cannot be divided into \(folds) folds")
        }
        var random = NumpyRandom(seed: seed)
        random.shuffle(&labels)
        // As numpy.array_split: the first folds have one more.
        let (size, extra) = (labels.count / folds, labels.count % folds)
        let start = validationFold * size + min(validationFold, extra)
        let chosen = Set(labels[start..<start + size + (validationFold < extra ? 1 : 0)])
        return (
            ImageTable(rows: rows.filter { !chosen.contains($0.label) }),
            ImageTable(rows: rows.filter { chosen.contains($0.label) })
        )
    }

    /// Takes some rows of each label into a gallery, at random; the others are queries.
    ///
    /// The same rows as the reference's `split_gallery_query` gives.
    ///
    /// - Parameters:
    ///   - references: rows of each label in the gallery, or all that it has.
    ///   - seed: of NumPy's generator.
    /// - Returns: both, in this table's order, and the labels that have fewer rows than `references`.
    public func galleryQuerySplit(
        references: Int = 1, seed: UInt32 = 0
    ) -> (gallery: ImageTable, query: ImageTable, scarceLabels: [String]) {
        precondition(references >= 0, "galleryQuerySplit: \(references) references")
        var random = NumpyRandom(seed: seed)
        var counts: [String: Int] = [:]
        var isReference = [Bool](repeating: false, count: rows.count)
        for index in random.permutation(rows.count) {
            let taken = counts[rows[index].label, default: 0]
            guard taken < references else { continue }
            counts[rows[index].label] = taken + 1
            isReference[index] = true
        }
        return (
            subset(rows.indices.filter { isReference[$0] }), subset(rows.indices.filter { !isReference[$0] }),
            labels.filter { counts[$0, default: 0] < references }
        )
    }
}
