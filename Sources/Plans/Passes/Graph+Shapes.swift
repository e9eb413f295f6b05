import CKernels
import Tensors

extension Graph {
    /// Lets nodes that work on rows read what a reshape reads, where the reshape keeps the rows' width.
    func bypassReshapes() {
        rewrite { node in
            guard node.worksOnRows else { return }
            var x = node.inputs[0]
            while let reshape = x.producer, reshape.operation(as: ReshapeOperation.self) != nil,
                reshape.inputs[0].width == x.width
            {
                x = reshape.inputs[0]
            }
            if x !== node.inputs[0] { node.setInputs([x] + node.inputs.dropFirst()) }
        }
        removeUnused()
    }

    /// Drops operations that change nothing.
    func removeIdentities() {
        rewrite { node in
            let isIdentity =
                switch node.kind {
                case .operation(let affine as AffineOperation): affine.scale == 1 && affine.shift == 0
                case .operation(is ReshapeOperation): node.inputs[0].shape == node.output.shape
                case .operation(let pool as AdaptiveAvgPool2dOperation):
                    node.inputs[0].shape[1] == pool.height && node.inputs[0].shape[2] == pool.width
                default: false
                }
            guard isIdentity, node.inputs[0] !== input || node.output !== output else { return }
            replace(node.output, with: node.inputs[0])
            remove(node)
        }
    }

    /// Flattening an image in PyTorch's order before a Linear reorders the Linear's weights instead.
    func foldFlattening() {
        rewrite { node in
            guard var product = node.product, product.isPointwise,
                let reshape = exclusiveProducer(of: node.inputs[0], for: node),
                reshape.operation(as: ReshapeOperation.self) != nil,
                let permute = exclusiveProducer(of: reshape.inputs[0], for: reshape),
                permute.operation(as: PermuteOperation.self)?.axes == [0, 3, 1, 2]
            else { return }
            let image = permute.inputs[0]
            guard node.inputs[0].shape == [1, image.count] else { return }
            let (pixels, channels) = (image.shape[1] * image.shape[2], image.shape[3])
            product.weights.reorderInputs((0..<image.count).map { $0 % channels * pixels + $0 / channels })
            reshape.setInputs([image])
            node.kind = .product(product)
            remove(permute)
        }
    }

    /// Merges the concatenation of two halves and the shuffle of their channels into the product that makes the second.
    func fuseChannelShuffles() {
        rewrite { node in
            guard node.operation(as: ReshapeOperation.self) != nil,
                let permute = exclusiveProducer(of: node.inputs[0], for: node),
                permute.operation(as: PermuteOperation.self)?.axes == [0, 1, 2, 4, 3],
                let split = exclusiveProducer(of: permute.inputs[0], for: permute),
                split.operation(as: ReshapeOperation.self) != nil,
                let concatenate = exclusiveProducer(of: split.inputs[0], for: split),
                let axis = concatenate.operation(as: ConcatenateOperation.self)?.axis,
                concatenate.inputs.count == 2, axis == concatenate.output.shape.count - 1,
                split.output.shape == Array(concatenate.output.shape.dropLast()) + [2, concatenate.output.width / 2],
                node.output.shape == concatenate.output.shape
            else { return }
            let (first, second) = (concatenate.inputs[0], concatenate.inputs[1])
            guard first.shape == second.shape, first.constant == nil,
                let producer = exclusiveProducer(of: second, for: concatenate),
                var product = producer.product, product.isPointwise, product.combine == .none
            else { return }
            product.combine = .interleave
            let x = producer.inputs
            node.kind = .product(product)
            node.setInputs([x[0], first] + x.dropFirst())
            for dead in [permute, split, concatenate, producer] { remove(dead) }
        }
    }
}

extension Graph.Node {
    /// Whether the node treats its input as rows of channels, whatever their arrangement.
    fileprivate var worksOnRows: Bool {
        switch kind {
        case .product(let product): product.isPointwise
        case .channelAffine: true
        case .meanOfSums: false
        case .operation(let operation): operation is LayerNormOperation
        }
    }
}
