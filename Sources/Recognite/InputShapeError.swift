import Layers
import ModelZoo
import Tensors

/// Images that a model cannot take.
public struct InputShapeError: Error, CustomStringConvertible {
    /// The model's name or type.
    public let model: String
    /// `[N, H, W, 3]`.
    public let shape: [Int]
    public let reason: String

    public var description: String {
        let images = shape.count == 4 ? "\(shape[0]) of \(shape[1]) x \(shape[2]) pixels" : "an array of shape \(shape)"
        return "\(model) cannot take these images (\(images)): \(reason)"
    }
}

extension Module {
    /// Checks whether images can go through this model in its present mode: their size against the family's rule, and,
    /// for one image in training mode, whether a batch norm is left with a single value per channel.
    ///
    /// A model that is run on images that it cannot take ends the process; what comes from outside goes through here
    /// first.
    ///
    /// - Parameters:
    ///   - shape: `[N, H, W, 3]`.
    ///   - name: what the error calls the model; `nil`: its type.
    public func checkInput(shape: [Int], named name: String? = nil) throws(InputShapeError) {
        let recognizer = self as? Recognizer
        func error(_ reason: String) -> InputShapeError {
            InputShapeError(model: name ?? recognizer?.modelName ?? typeName, shape: shape, reason: reason)
        }
        guard shape.count == 4, shape[3] == 3, shape.allSatisfy({ $0 > 0 }) else {
            throw error("[N, H, W, 3] is expected")
        }
        let limited = (recognizer?.backbone ?? self) as? any ImageSizeLimiting
        switch limited?.imageSizeRule {
        case .atLeast(let side) where min(shape[1], shape[2]) < side:
            let mode = isTraining ? " in training mode" : ""
            throw error("\(side) x \(side) are the least\(mode)")
        case .exactly(let height, let width) where shape[1] != height || shape[2] != width:
            throw error("it is built for \(height) x \(width); resize them, or build it for their size")
        default: break
        }
        guard isTraining, shape[0] == 1 else { return }
        // With two images nothing can go wrong, and the shapes behind the first axis are the same.
        let summary = withRandomSeed(0) { ModuleSummary(of: self, inputShape: [2] + shape.dropFirst()) }
        let norm = summary.rows.first { row in
            row.outputShape.dropFirst().dropLast().reduce(1, *) == 1 && (try? module(at: row.path)) is BatchNorm2d
        }
        if let norm {
            throw error(
                "the batch norm at \(norm.path.joined(separator: ".")) has one value per channel in training, and needs "
                    + "more: take larger images or more than one at a time")
        }
    }
}
