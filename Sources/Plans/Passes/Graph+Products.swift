import CKernels
import Tensors

extension Graph {
    /// Turns convolutions and Linears whose weights are constants into products.
    func makeProducts() {
        rewrite { node in
            let geometry: Conv2dGeometry
            if let convolution = node.operation(as: Conv2dOperation.self) {
                geometry = convolution.geometry
            } else if node.operation(as: LinearOperation.self) != nil {
                geometry = Conv2dGeometry(kernel: (1, 1))
            } else {
                return
            }
            guard let weight = node.inputs[1].constant else { return }
            let bias = node.inputs.count > 2 ? node.inputs[2].constant : nil
            node.kind = .product(Product(geometry: geometry, weights: ProductWeights(weight, bias: bias)))
            node.setInputs([node.inputs[0]])
        }
    }

    /// Turns batch norms with fixed statistics into scales and shifts, and merges these, and constant factors and
    /// summands per channel, into the weights of the product before them.
    func foldIntoProducts() {
        rewrite { node in
            guard let affine = node.channelAffine else { return }
            let x = node.inputs[0]
            if let producer = exclusiveProducer(of: x, for: node), var product = producer.product, product.isBare,
                product.outputRows == nil
            {
                product.weights.scaleOutputs(affine.scale, shift: affine.shift)
                absorb(producer, as: product, into: node)
            } else if let producer = exclusiveProducer(of: x, for: node), case .channelAffine(let first) = producer.kind
            {
                node.kind = .channelAffine(affine.after(first))
                node.setInputs([producer.inputs[0]])
                remove(producer)
            } else {
                node.kind = .channelAffine(affine)
                node.setInputs([x])
            }
        }
    }

    /// Merges a scale and shift per channel into the weights of the product behind it: a norm before a 1 x 1 product, the
    /// normalization of images before the first layer.
    func foldAffinesForward() {
        rewrite { node in
            guard case .channelAffine(let affine) = node.kind, let consumer = soleConsumer(of: node.output),
                var product = consumer.product, consumer.inputs[0] === node.output, product.absorbBefore(affine)
            else { return }
            consumer.kind = .product(product)
            consumer.setInputs([node.inputs[0]] + consumer.inputs.dropFirst())
            remove(node)
        }
    }

    /// Merges activations into the product or the affine before them.
    func fuseActivations() {
        rewrite { node in
            guard let activation = node.operation(as: ActivationOperation.self)?.activation,
                let producer = exclusiveProducer(of: node.inputs[0], for: node)
            else { return }
            if var product = producer.product {
                guard product.activation == nil,
                    product.combine == .none || product.combine == .addBefore
                else { return }
                product.activation = activation
                absorb(producer, as: product, into: node)
            } else if case .channelAffine(var affine) = producer.kind, activation == .relu, !affine.hasReLU {
                affine.hasReLU = true
                let inputs = producer.inputs
                node.kind = .channelAffine(affine)
                node.setInputs(inputs)
                remove(producer)
            }
        }
    }

    /// Merges additions into the product that makes one of the summands.
    func fuseResiduals() {
        rewrite { node in
            guard node.operation(as: BinaryOperation.self)?.kind == .add,
                node.inputs[0].shape == node.output.shape, node.inputs[1].shape == node.output.shape,
                node.inputs[0] !== node.inputs[1]
            else { return }
            // The summand that is made last: the other one is then there already.
            let candidates = [1, 0].compactMap { side -> (product: Product, producer: Node, residual: Value)? in
                guard let producer = exclusiveProducer(of: node.inputs[side], for: node),
                    let product = producer.product, product.combine == .none,
                    node.inputs[1 - side].constant == nil
                else { return nil }
                return (product, producer, node.inputs[1 - side])
            }
            guard
                let (merged, producer, residual) = candidates.max(by: { $0.producer.output.id < $1.producer.output.id })
            else { return }
            var product = merged
            product.combine = product.activation == nil ? .addBefore : .addAfter
            absorb(producer, as: product, into: node, residual: residual)
        }
    }

    /// Takes the means of a depthwise product's images (squeeze and excitation) from sums that the product adds up on its
    /// way out, one row of sums for each thread.
    func fuseSqueezes(threads: Int) {
        rewrite { node in
            guard let pool = node.operation(as: AdaptiveAvgPool2dOperation.self), pool.height == 1, pool.width == 1,
                let producer = node.inputs[0].producer, producer.sums == nil, let product = producer.product,
                product.isDepthwise, product.combine == .none
            else { return }
            let pixels = node.inputs[0].rows
            node.kind = .meanOfSums(pixels: pixels)
            node.setInputs([addSums(to: producer, rows: threads)])
        }
    }

    /// Merges what happens to the input of a 1 x 1 product into its prologue: squeeze and excitation's scales, norms.
    func fusePrologues() {
        rewrite { node in
            guard var product = node.product, product.isPointwise, case .none = product.prologue,
                let before = exclusiveProducer(of: node.inputs[0], for: node)
            else { return }
            var inputs = node.inputs
            switch before.kind {
            case .channelAffine(let affine):
                product.prologue = .affine(affine)
                inputs[0] = before.inputs[0]
            case .operation(let operation as LayerNormOperation):
                guard let scale = before.inputs[1].constant, let shift = before.inputs[2].constant else { return }
                product.prologue = .layerNorm(scale: scale.scalars, shift: shift.scalars, eps: operation.eps)
                inputs[0] = before.inputs[0]
            case .operation(let operation as BinaryOperation):
                let (x, scale) = (before.inputs[0], before.inputs[1])
                guard operation.kind == .multiply, x.shape == before.output.shape, scale.constant == nil,
                    scale.count == scale.width, scale.width == x.width
                else { return }
                product.prologue = .imageScale
                inputs[0] = x
                inputs.append(scale)
            default: return
            }
            node.kind = .product(product)
            node.setInputs(inputs)
            remove(before)
        }
    }

    /// Turns the reordering of rows before and behind 1 x 1 products into their row tables.
    func fuseRowGathers() {
        rewrite { node in
            guard let gather = node.operation(as: GatherRowsOperation.self)?.gather else { return }
            if let producer = gatheredProducer(of: node), var product = producer.product,
                let inverse = gather.coveringInverse
            {
                product.outputRows = inverse.map(Int32.init)
                absorb(producer, as: product, into: node)
            }
        }
        rewrite { node in
            guard let gather = node.operation(as: GatherRowsOperation.self)?.gather,
                let reader = soleConsumerBehindReshapes(of: node.output), var product = reader.product,
                product.isPointwise, product.inputRows == nil, reader.inputs[0].width == node.output.width
            else { return }
            product.inputRows = gather.sources.map(Int32.init)
            reader.kind = .product(product)
            reader.setInputs([node.inputs[0]] + reader.inputs.dropFirst())
            removeUnusedChain(before: node)
        }
    }

    /// The product whose rows, perhaps reshaped, a gather alone reads.
    private func gatheredProducer(of gather: Node) -> Node? {
        guard let producer = exclusiveProducer(of: gather.inputs[0], for: gather), let product = producer.product,
            product.isPointwise, product.outputRows == nil, product.combine == .none
        else { return nil }
        return producer
    }

    /// The node that alone reads a value, also through reshapes that keep its rows.
    private func soleConsumerBehindReshapes(of value: Value) -> Node? {
        var value = value
        while let consumer = soleConsumer(of: value) {
            guard consumer.operation(as: ReshapeOperation.self) != nil else { return consumer }
            guard consumer.output.width == value.width else { return nil }
            value = consumer.output
        }
        return nil
    }

    private func removeUnusedChain(before node: Node) {
        var pending = [node]
        while let next = pending.popLast() {
            for consumer in next.output.consumers where consumer.output.consumers.isEmpty { pending.append(consumer) }
            if next.output.consumers.isEmpty { remove(next) }
        }
    }

    /// Gives a product's node the place, and the output, of the node that reads it.
    private func absorb(_ producer: Node, as product: Product, into node: Node, residual: Value? = nil) {
        var inputs = producer.inputs
        if let residual { inputs.insert(residual, at: 1) }
        node.kind = .product(product)
        node.setInputs(inputs)
        remove(producer)
    }
}

extension RowGather {
    /// The output row of each input row, -1 for none; `nil` unless every output row has a source of its own.
    fileprivate var coveringInverse: [Int]? {
        var inverse = [Int](repeating: -1, count: sourceRows)
        for (row, source) in sources.enumerated() {
            guard source != Self.blank, inverse[source] == -1 else { return nil }
            inverse[source] = row
        }
        return inverse
    }
}

extension Graph.Node {
    /// What the node does as a scale and a shift per channel of its first input; `nil` if it does anything else.
    fileprivate var channelAffine: ChannelAffine? {
        let channels = output.width
        guard case .operation(let operation) = kind else { return nil }
        switch operation {
        case let norm as BatchNormInferenceOperation:
            let tensors = inputs.dropFirst().compactMap(\.constant)
            guard tensors.count == 4 else { return nil }
            let (weight, bias, mean, variance) = (
                tensors[0].scalars, tensors[1].scalars, tensors[2].scalars, tensors[3].scalars
            )
            let scale = (0..<channels).map { weight[$0] / (variance[$0] + norm.eps).squareRoot() }
            let shift = (0..<channels).map { bias[$0] - mean[$0] * scale[$0] }
            return ChannelAffine(scale: scale, shift: shift)
        case let binary as BinaryOperation:
            guard inputs[0].shape == output.shape, let constant = inputs[1].constant, constant.count == channels,
                constant.shape.last == channels
            else { return nil }
            let (values, ones, zeros) = (
                constant.scalars, [Float](repeating: 1, count: channels), [Float](repeating: 0, count: channels)
            )
            switch binary.kind {
            case .multiply: return ChannelAffine(scale: values, shift: zeros)
            case .add: return ChannelAffine(scale: ones, shift: values)
            case .subtract: return ChannelAffine(scale: ones, shift: values.map { -$0 })
            case .divide: return nil
            }
        default: return nil
        }
    }
}
