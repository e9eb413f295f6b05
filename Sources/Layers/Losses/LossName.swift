/// The losses by the names that the command line and configuration files have for them.
public enum LossName: String, Sendable, CaseIterable, Codable {
    case crossEntropy = "cross_entropy"
    case normalizedSoftmax = "normalized_softmax"
    case cosFace = "cosface"
    case arcFace = "arcface"
    case subCenterArcFace = "subcenter_arcface"
    case proxyAnchor = "proxy_anchor"
    case triplet
    case supervisedContrastive = "supcon"

    /// The settings that the loss has.
    public var settings: [LossSetting] {
        switch self {
        case .crossEntropy: [.labelSmoothing]
        case .normalizedSoftmax: [.scale, .labelSmoothing]
        case .cosFace, .arcFace: [.scale, .margin, .labelSmoothing]
        case .subCenterArcFace: [.scale, .margin, .labelSmoothing, .centers]
        case .proxyAnchor: [.scale, .margin]
        case .triplet: [.margin]
        case .supervisedContrastive: [.temperature]
        }
    }

    /// The loss with the given settings, and its defaults where they are `nil`.
    ///
    /// - Parameters:
    ///   - scale: the factor on cosines; Proxy-Anchor's alpha.
    ///   - margin: in units of the cosine (CosFace; Proxy-Anchor's delta), of the angle in radians (ArcFace), or of the
    ///     distance (triplet).
    ///   - labelSmoothing: the share of each target that goes to all classes alike, in [0, 1).
    ///   - centers: centres of each class.
    ///   - temperature: the divisor of inner products.
    /// - Throws: ``LossSettingError`` for a setting that the loss does not have, or a value out of its range.
    public func loss(
        scale: Float? = nil, margin: Float? = nil, labelSmoothing: Float = 0, centers: Int? = nil,
        temperature: Float? = nil
    ) throws(LossSettingError) -> any TrainingLoss {
        try check(.scale, scale, "a number above 0") { $0 > 0 }
        let isAngle = self == .arcFace || self == .subCenterArcFace
        try check(.margin, margin, isAngle ? "an angle in radians, from 0 to below π" : "a number from 0 on") {
            $0 >= 0 && (!isAngle || $0 < .pi)
        }
        try check(.labelSmoothing, labelSmoothing == 0 ? nil : labelSmoothing, "from 0 to below 1") { 0..<1 ~= $0 }
        try check(.centers, centers.map(Float.init), "a number from 1 on") { $0 >= 1 }
        try check(.temperature, temperature, "a number above 0") { $0 > 0 }
        switch self {
        case .crossEntropy: return CrossEntropy(labelSmoothing: labelSmoothing)
        case .normalizedSoftmax: return NormalizedSoftmax(scale: scale ?? 16, labelSmoothing: labelSmoothing)
        case .cosFace: return CosFace(scale: scale ?? 64, margin: margin ?? 0.35, labelSmoothing: labelSmoothing)
        case .arcFace: return ArcFace(scale: scale ?? 64, margin: margin ?? 0.5, labelSmoothing: labelSmoothing)
        case .subCenterArcFace:
            return SubCenterArcFace(
                centers: centers ?? 3, scale: scale ?? 64, margin: margin ?? 0.5, labelSmoothing: labelSmoothing)
        case .proxyAnchor: return ProxyAnchor(alpha: scale ?? 32, delta: margin ?? 0.1)
        case .triplet: return TripletBatchHard(margin: margin ?? 0.2)
        case .supervisedContrastive: return SupervisedContrastive(temperature: temperature ?? 0.1)
        }
    }

    private func check(
        _ setting: LossSetting, _ value: Float?, _ range: String, _ isValid: (Float) -> Bool
    ) throws(LossSettingError) {
        guard let value else { return }
        guard settings.contains(setting) else { throw .unknown(setting, of: self) }
        guard value.isFinite, isValid(value) else {
            throw .outOfRange(setting, of: self, value: value, expected: range)
        }
    }
}

/// What can be set of one loss or another.
public enum LossSetting: String, Sendable, CaseIterable {
    case scale, margin
    case labelSmoothing = "label-smoothing"
    case centers, temperature
}

/// A setting that does not go with a loss.
public enum LossSettingError: Error, Equatable, CustomStringConvertible {
    /// The loss has no such setting.
    case unknown(LossSetting, of: LossName)
    case outOfRange(LossSetting, of: LossName, value: Float, expected: String)

    public var description: String {
        switch self {
        case .unknown(let setting, let loss):
            "the loss \(loss.rawValue) has no \(setting.rawValue); it has "
                + loss.settings.map(\.rawValue).joined(separator: ", ")
        case .outOfRange(let setting, let loss, let value, let expected):
            "\(setting.rawValue) \(value) of the loss \(loss.rawValue): \(expected) is expected"
        }
    }
}
