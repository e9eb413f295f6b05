import Tensors

/// A model's computation for one image: values and the nodes that make them, in the order in which they can run.
///
/// The graph is captured from a model's own `forward` and rewritten by passes until each node is one step of a plan.
final class Graph {
    /// A tensor of the computation. Its first axis is the image's, of size 1.
    final class Value {
        let id: Int
        var shape: [Int]
        /// Elements that do not depend on the image; such a value has no producer.
        let constant: Tensor?
        fileprivate(set) weak var producer: Node?
        /// The nodes that read this value, once for each time they read it.
        fileprivate(set) var consumers: [Node] = []

        fileprivate init(id: Int, shape: [Int], constant: Tensor?) {
            self.id = id
            self.shape = shape
            self.constant = constant
        }

        /// Channels: the size of the last axis.
        var width: Int { shape.last ?? 1 }
        var count: Int { shape.reduce(1, *) }
        /// Rows of ``width`` elements.
        var rows: Int { shape.dropLast().reduce(1, *) }
    }

    /// One operation.
    final class Node {
        var kind: Kind
        private(set) var inputs: [Value]
        let output: Value
        /// A second result: the sums over an image's pixels of what a depthwise product makes, one row for each thread.
        fileprivate(set) var sums: Value?
        fileprivate(set) var isRemoved = false

        fileprivate init(_ kind: Kind, _ inputs: [Value], _ output: Value) {
            self.kind = kind
            self.inputs = inputs
            self.output = output
            for input in inputs { input.consumers.append(self) }
            output.producer = self
        }

        /// Makes the node read other values.
        func setInputs(_ values: [Value]) {
            for input in inputs { input.forget(self) }
            inputs = values
            for input in inputs { input.consumers.append(self) }
        }
    }

    /// What a node does.
    enum Kind {
        /// An operation as the model ran it.
        case operation(any Operation)
        /// A convolution or a Linear, with all that was merged into it.
        case product(Product)
        /// The mean over an image's pixels, from their sums in rows.
        case meanOfSums(pixels: Int)
        /// `max(0, scale x + shift)` or without the maximum, per channel.
        case channelAffine(ChannelAffine)
    }

    private(set) var nodes: [Node] = []
    let input: Value
    private(set) var output: Value
    private var valueCount = 0

    init(inputShape: [Int]) {
        input = Value(id: 0, shape: inputShape, constant: nil)
        output = input
        valueCount = 1
    }

    /// Values and the nodes that read them know each other.
    deinit {
        for node in nodes { node.setInputs([]) }
    }

    func makeValue(shape: [Int], constant: Tensor? = nil) -> Value {
        valueCount += 1
        return Value(id: valueCount - 1, shape: shape, constant: constant)
    }

    /// Appends a node; returns what it makes.
    func append(_ kind: Kind, _ inputs: [Value], shape: [Int]) -> Value {
        let node = Node(kind, inputs, makeValue(shape: shape))
        nodes.append(node)
        return node.output
    }

    /// Inserts a node before another one; returns what it makes.
    func insert(_ kind: Kind, _ inputs: [Value], shape: [Int], before next: Node) -> Value {
        let node = Node(kind, inputs, makeValue(shape: shape))
        nodes.insert(node, at: nodes.firstIndex { $0 === next }!)
        return node.output
    }

    func setOutput(_ value: Value) { output = value }

    /// Makes a node deliver its sums too, in `rows` rows.
    func addSums(to node: Node, rows: Int) -> Value {
        let value = makeValue(shape: [1, rows, node.output.width])
        value.producer = node
        node.sums = value
        return value
    }

    /// Removes a node whose output nobody reads any more.
    func remove(_ node: Node) {
        precondition(node.output.consumers.isEmpty && node.output !== output, "Graph: removing a node that is used")
        node.setInputs([])
        node.isRemoved = true
    }

    /// Makes the readers of one value read another, which has to be there before they run.
    func replace(_ value: Value, with other: Value) {
        for consumer in value.consumers {
            consumer.setInputs(consumer.inputs.map { $0 === value ? other : $0 })
        }
        if output === value { output = other }
    }

    /// The only node that reads a value; `nil` if there are more, or the value is the graph's output.
    func soleConsumer(of value: Value) -> Node? {
        value.consumers.count == 1 && value !== output ? value.consumers[0] : nil
    }

    /// The producer of a value that nobody but `reader` reads.
    func exclusiveProducer(of value: Value, for reader: Node) -> Node? {
        soleConsumer(of: value) === reader ? value.producer : nil
    }

    /// Calls `body` with each node in order, and drops the nodes that were removed.
    func rewrite(_ body: (Node) -> Void) {
        for node in nodes where !node.isRemoved { body(node) }
        nodes.removeAll { $0.isRemoved }
    }

    /// Removes the nodes whose results nobody uses.
    func removeUnused() {
        for node in nodes.reversed() where node.output.consumers.isEmpty && node.output !== output { remove(node) }
        nodes.removeAll { $0.isRemoved }
    }
}

extension Graph.Value {
    fileprivate func forget(_ node: Graph.Node) {
        if let index = consumers.firstIndex(where: { $0 === node }) { consumers.remove(at: index) }
    }
}

extension Graph.Node {
    /// The operation that the node runs, if it is of this type.
    func operation<O: Operation>(as type: O.Type) -> O? {
        if case .operation(let operation) = kind { return operation as? O }
        return nil
    }

    var product: Product? {
        if case .product(let product) = kind { return product }
        return nil
    }
}
