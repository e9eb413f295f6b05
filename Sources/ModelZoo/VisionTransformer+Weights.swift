// What happens to a Vision Transformer's state dict on the way into a model: other image sizes, old keys.
import Layers
import Tensors

/// Weights whose position embedding cannot be brought to another image size.
public struct PositionEmbeddingError: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
}

extension VisionTransformer {
    static let positionKey = "encoder.pos_embedding"

    /// A state dict for images of another size: the position embedding, seen as an image of one pixel per patch, is
    /// resized by bicubic interpolation with aligned corners; the class token's stays. Where the size is the same
    /// already, nothing changes. torchvision's `interpolate_embeddings`.
    ///
    /// - Parameters:
    ///   - imageSize: the side of the images that the model is for, in pixels.
    ///   - patchSize: the side of its patches.
    ///   - resetHeads: whether the keys below `heads` are left out where the size differs.
    /// - Throws: ``PositionEmbeddingError`` if there is no such embedding, or its patches do not form a square.
    public static func interpolatingEmbeddings(
        of state: StateDict, imageSize: Int, patchSize: Int, resetHeads: Bool = false
    ) throws -> StateDict {
        precondition(imageSize >= patchSize && patchSize > 0, "image size \(imageSize), patch size \(patchSize)")
        guard let entry = state[positionKey] else {
            throw PositionEmbeddingError(description: "the weights have no \"\(positionKey)\"")
        }
        guard entry.shape.count == 3, entry.shape[0] == 1, entry.shape[1] > 1 else {
            throw PositionEmbeddingError(
                description: "\"\(positionKey)\" is \(entry.shape), expected [1, patches + 1, channels]")
        }
        let (patches, width) = (entry.shape[1] - 1, entry.shape[2])
        let newSide = imageSize / patchSize
        if newSide * newSide == patches { return state }
        let side = Int(Double(patches).squareRoot().rounded())
        guard side * side == patches else {
            throw PositionEmbeddingError(
                description: "\"\(positionKey)\" is for \(patches) patches, which form no square")
        }
        let embedding = try entry.tensor()
        let image = embedding.sliced(axis: 1, 1..<patches + 1).reshaped([side, side, width])
        let resized = image.resizedBicubic(side: newSide).reshaped([1, newSide * newSide, width])
        var result = state.mapKeys { resetHeads && $0.hasPrefix("heads") ? nil : $0 }
        result[positionKey] = StateDict.Entry(
            .concatenated([embedding.sliced(axis: 1, 0..<1), resized], axis: 1))
        return result
    }

    /// The side of the images that a state dict is for, in pixels; `nil` if it does not tell.
    public static func imageSize(of state: StateDict) -> Int? {
        // The file is not trusted: sizes that no network has must not be multiplied.
        guard let embedding = state[positionKey]?.shape, embedding.count == 3, embedding[1] > 1,
            embedding.allSatisfy({ $0 > 0 }), let projection = state["conv_proj.weight"]?.shape, projection.count == 4,
            (1...1024).contains(projection[3])
        else { return nil }
        let side = Int(Double(embedding[1] - 1).squareRoot().rounded())
        return side * side == embedding[1] - 1 ? side * projection[3] : nil
    }

    /// A state dict with today's keys: the published weights name the layers of a perceptron `linear_1` and `linear_2`,
    /// which are `0` and `3` now.
    public static func renamingLegacyKeys(_ state: StateDict) -> StateDict {
        state.mapKeys { key in
            var parts = key.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count > 2, parts[parts.count - 3] == "mlp" else { return key }
            switch parts[parts.count - 2] {
            case "linear_1": parts[parts.count - 2] = "0"
            case "linear_2": parts[parts.count - 2] = "3"
            default: return key
            }
            return parts.joined(separator: ".")
        }
    }
}

extension Tensor {
    /// A square image `[S, S, C]` resized to `[side, side, C]` by cubic convolution with a = -0.75, the corners' pixels
    /// staying where they are and the edges' repeated outward; as PyTorch's `interpolate(mode="bicubic",
    /// align_corners=True)`.
    func resizedBicubic(side: Int) -> Tensor {
        let (size, width) = (shape[0], shape[2])
        let taps = (0..<side).map { Self.cubicTaps($0, from: size, to: side) }
        return withUnsafeScalars { source in
            Tensor(shape: [side, side, width]) { target in
                for y in 0..<side {
                    for x in 0..<side {
                        for channel in 0..<width {
                            var sum: Float = 0
                            for (row, down) in taps[y] {
                                var line: Float = 0
                                for (column, right) in taps[x] {
                                    line += source[(row * size + column) * width + channel] * right
                                }
                                sum += line * down
                            }
                            target[(y * side + x) * width + channel] = sum
                        }
                    }
                }
            }
        }
    }

    /// The four pixels that a resized line's pixel is made of, and their weights.
    private static func cubicTaps(_ position: Int, from size: Int, to resized: Int) -> [(pixel: Int, weight: Float)] {
        let scale = resized > 1 ? Float(size - 1) / Float(resized - 1) : 0
        let place = scale * Float(position)
        let first = Int(place)
        let t = place - Float(first)
        let a: Float = -0.75
        /// The kernel within one pixel, and between one and two.
        func near(_ x: Float) -> Float { ((a + 2) * x - (a + 3)) * x * x + 1 }
        func far(_ x: Float) -> Float { ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
        return zip(-1...2, [far(t + 1), near(t), near(1 - t), far(2 - t)]).map { offset, weight in
            (min(max(first + offset, 0), size - 1), weight)
        }
    }
}
