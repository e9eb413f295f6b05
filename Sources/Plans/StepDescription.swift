import Tensors

/// What a step of a plan does, for people.
package struct StepDescription: Sendable {
    /// The kernel's name.
    package internal(set) var kernel: String
    /// The geometry, and what is merged into the step.
    package let detail: String
    /// For one image.
    package let outputShape: [Int]
    /// Where the output begins: in an image's arena or a group's, in elements, or in the caller's memory.
    package let place: String
    /// For one image.
    package let multiplyAdds: Int
}

extension Product {
    /// The geometry and what is merged into the product: "3x3 s2 +bias relu +residual".
    var summary: String {
        let (height, width) = geometry.kernel
        var parts = ["\(height)x\(width)"]
        if geometry.strideHeight > 1 || geometry.strideWidth > 1 { parts.append("s\(geometry.strideHeight)") }
        if geometry.dilationHeight > 1 || geometry.dilationWidth > 1 { parts.append("d\(geometry.dilationHeight)") }
        if geometry.groups > 1, !isDepthwise { parts.append("g\(geometry.groups)") }
        switch prologue {
        case .none: break
        case .affine(let affine): parts.append(affine.hasReLU ? "affine_relu>" : "affine>")
        case .imageScale: parts.append("scale>")
        case .layerNorm: parts.append("layer_norm>")
        }
        if padding != nil { parts.append("pad>") }
        if inputRows != nil { parts.append("gather>") }
        if outputRows != nil { parts.append(">scatter") }
        if weights.bias != nil { parts.append("+bias") }
        let residual: String? =
            switch combine {
            case .addBefore, .addAfter: "+residual"
            case .interleave: "shuffle"
            case .none: nil
            }
        let activation = activation?.rawValue
        parts += (combine == .addAfter ? [activation, residual] : [residual, activation]).compactMap { $0 }
        return parts.joined(separator: " ")
    }
}

extension MemoryLayout.Location {
    /// For descriptions.
    var summary: String {
        switch self {
        case .arena(let offset): "\(offset)"
        case .groupArena(let base, _, let offset): "group \(base + offset)"
        case .input(let offset): "input \(offset)"
        case .output(let offset): "output \(offset)"
        case .constant: "constant"
        }
    }
}
