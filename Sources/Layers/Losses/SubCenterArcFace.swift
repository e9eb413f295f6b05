import Tensors

/// ``ArcFace`` with several centres for each class, of which the nearest counts: a class that looks in several ways, or
/// has wrong labels, need not gather at one point. "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy
/// Web Faces", ECCV 2020.
///
/// The classifier has `classes * centers` rows: those of class 0, then those of class 1, and so on.
public struct SubCenterArcFace: TrainingLoss {
    /// The number of centres of each class.
    public let centers: Int
    /// What is applied to the nearest centres' cosines.
    public let arcFace: ArcFace

    public init(
        centers: Int = 3, scale: Float = 64, margin: Float = 0.5, easyMargin: Bool = false, labelSmoothing: Float = 0
    ) {
        precondition(centers > 0, "SubCenterArcFace: \(centers) centres")
        self.centers = centers
        arcFace = ArcFace(scale: scale, margin: margin, easyMargin: easyMargin, labelSmoothing: labelSmoothing)
    }

    public var input: LossInput { .logits }
    public var centersPerClass: Int { centers }

    public func callAsFunction(_ output: Tensor, labels: [Int]) -> Tensor {
        let (rows, columns) = checkedSize("SubCenterArcFace", output, labels: labels)
        precondition(
            columns % centers == 0, "SubCenterArcFace: \(columns) cosines are not \(centers) for each class")
        return arcFace(output.reshaped([rows, columns / centers, centers]).maximum(), labels: labels)
    }
}
