import Tensors

/// Where each value of a graph lies in memory: views share their source's memory, parts of a concatenation lie in it,
/// and everything else gets a place in one arena that others take over when it is no longer read.
struct MemoryLayout {
    /// A value's place: the memory, the first element, and the elements from one row to the next.
    struct Place {
        var location: Location
        var rowStride: Int
        /// Elements from one image to the next, where all images of a group lie together.
        var imageStride: Int
    }

    enum Location: Equatable {
        /// The arena of one image.
        case arena(offset: Int)
        /// The arena of a group of images, in which image i's part begins at `base · images + size · i + offset`.
        case groupArena(base: Int, size: Int, offset: Int)
        case input(offset: Int)
        case output(offset: Int)
        case constant(Tensor)

        static func == (a: Location, b: Location) -> Bool {
            switch (a, b) {
            case (.arena(let a), .arena(let b)), (.input(let a), .input(let b)), (.output(let a), .output(let b)):
                a == b
            case (.groupArena(let a, _, let offsetA), .groupArena(let b, _, let offsetB)):
                a == b && offsetA == offsetB
            default: false
            }
        }

        /// The place `offset` elements further on.
        func advanced(by offset: Int) -> Location {
            switch self {
            case .arena(let start): .arena(offset: start + offset)
            case .groupArena(let base, let size, let start):
                .groupArena(base: base, size: size, offset: start + offset)
            case .input(let start): .input(offset: start + offset)
            case .output(let start): .output(offset: start + offset)
            case .constant: preconditionFailure("MemoryLayout: a place within a constant")
            }
        }
    }

    /// Elements of the arena of one image, and of each image in that of a group.
    private(set) var arenaSize = 0
    private(set) var groupArenaSize = 0
    private var places: [Int: Place] = [:]

    func place(of value: Graph.Value) -> Place { places[value.id]! }

    /// Memory that values share.
    private final class Storage {
        let width: Int
        let count: Int
        /// A value in it has rows of another width, so that the rows must lie one behind the other.
        var isRigid = false
        var parent: Storage?
        var offset = 0
        var first = Int.max
        var last = -1

        init(width: Int, count: Int) {
            self.width = width
            self.count = count
        }

        /// The memory that this is a part of, and where in it this begins.
        var root: (storage: Storage, offset: Int) {
            guard let parent else { return (self, 0) }
            let (storage, outer) = parent.root
            return (storage, outer + offset)
        }
    }

    /// - Parameters:
    ///   - firstGroupNode: the first of the nodes that run on a group of images at once.
    ///   - bands: the nodes that run in turns: what they make for each other has no place here, and everything else that they
    ///     read or make is in use as long as any of them runs.
    init(_ graph: Graph, firstGroupNode: Int, bands: [Range<Int>]) {
        /// Where each value begins in which memory, and its row stride unless that is a part of other memory.
        var storages: [Int: (storage: Storage, offset: Int, rowStride: Int)] = [:]
        func ownStorage(_ value: Graph.Value) {
            storages[value.id] = (Storage(width: value.width, count: value.count), 0, value.width)
        }
        ownStorage(graph.input)
        for node in graph.nodes {
            if let sums = node.sums { ownStorage(sums) }
            guard let source = node.viewedInput, let (storage, offset, rowStride) = storages[source.id] else {
                ownStorage(node.output)
                continue
            }
            let isReshaped = node.operation(as: ReshapeOperation.self) != nil && source.width != node.output.width
            if isReshaped { storage.isRigid = true }
            storages[node.output.id] = (storage, offset + node.viewOffset, isReshaped ? node.output.width : rowStride)
        }
        // Parts of concatenations.
        let inputStorage = storages[graph.input.id]!.storage, outputStorage = storages[graph.output.id]!.storage
        for node in graph.nodes {
            guard let parts = node.concatenatedParts else { continue }
            let (whole, wholeOffset, _) = storages[node.output.id]!
            for (value, offset) in parts {
                guard let (part, partOffset, _) = storages[value.id], part.parent == nil, !part.isRigid,
                    partOffset == 0, part.count == value.count, part.width == value.width, part !== inputStorage,
                    part !== outputStorage, part !== whole, parts.filter({ $0.value === value }).count == 1,
                    whole.root.storage !== part
                else { continue }
                part.parent = whole
                part.offset = wholeOffset + offset
            }
        }
        // How long each root is in use.
        for (index, node) in graph.nodes.enumerated() {
            let run = bands.first { $0.contains(index) } ?? index..<index + 1
            for value in node.inputs + [node.output] + (node.sums.map { [$0] } ?? []) where value.constant == nil {
                let root = storages[value.id]!.storage.root.storage
                root.first = min(root.first, run.lowerBound)
                root.last = max(root.last, run.upperBound - 1)
            }
        }
        for band in bands {
            for node in graph.nodes[band].dropLast() { storages[node.output.id] = nil }
        }
        /// The memory of a value that fills it, row behind row, and lies in the arena.
        func wholeStorage(_ value: Graph.Value) -> Storage? {
            guard let (part, offset, rowStride) = storages[value.id] else { return nil }
            let storage = part.root.storage
            guard offset + part.root.offset == 0, storage.count == value.count, storage.width == value.width,
                rowStride == value.width, storage !== inputStorage, storage !== outputStorage
            else { return nil }
            return storage
        }
        // Sums in the place of the residual that they add up with, if nobody reads that any more: its lines are in the cache.
        for (index, node) in graph.nodes.enumerated() {
            guard let residual = node.addedResidual, let old = wholeStorage(residual),
                let new = wholeStorage(node.output), new.width == old.width, new.count == old.count,
                old.last == index, new.first == index,
                // Its input is read again for each panel of outputs.
                !(node.inputs[..<1] + node.inputs[2...]).contains(where: {
                    storages[$0.id]?.storage.root.storage === old
                })
            else { continue }
            new.parent = old
            old.last = new.last
        }
        let outputRoot = outputStorage.root.storage
        let outputIsPlain =
            outputRoot !== inputStorage && outputRoot === outputStorage && outputRoot.count == graph.output.count
        if !outputIsPlain { outputRoot.last = graph.nodes.count }

        var roots: [ObjectIdentifier: Storage] = [:]
        for (storage, _, _) in storages.values {
            let root = storage.root.storage
            if root !== inputStorage, !(outputIsPlain && root === outputRoot) { roots[ObjectIdentifier(root)] = root }
        }
        let ordered = roots.values.sorted { ($0.count, $1.first) > ($1.count, $0.first) }
        var offsets: [ObjectIdentifier: Int] = [:]
        let inGroup = { (storage: Storage) in storage.last >= firstGroupNode }
        arenaSize = Self.arrange(ordered.filter { !inGroup($0) }, &offsets)
        groupArenaSize = Self.arrange(ordered.filter(inGroup), &offsets)

        for (id, (storage, offset, rowStride)) in storages {
            let (root, outer) = storage.root
            let location: Location
            if root === inputStorage {
                location = .input(offset: outer + offset)
            } else if outputIsPlain, root === outputRoot {
                location = .output(offset: outer + offset)
            } else if inGroup(root) {
                location = .groupArena(
                    base: offsets[ObjectIdentifier(root)]!, size: root.count, offset: outer + offset)
            } else {
                location = .arena(offset: offsets[ObjectIdentifier(root)]! + outer + offset)
            }
            places[id] = Place(
                location: location, rowStride: storage.parent == nil ? rowStride : root.width, imageStride: root.count)
        }
        for value in graph.nodes.flatMap(\.inputs) {
            guard let constant = value.constant else { continue }
            places[value.id] = Place(location: .constant(constant), rowStride: value.width, imageStride: 0)
        }
    }

    /// Gives each storage an offset at which nothing else lies while it is in use, the largest first; returns the size of
    /// it all.
    private static func arrange(_ storages: [Storage], _ offsets: inout [ObjectIdentifier: Int]) -> Int {
        var placed: [(storage: Storage, range: Range<Int>)] = []
        var size = 0
        for storage in storages {
            let length = (storage.count + 15) & ~15
            var offset = 0
            let neighbours = placed.filter { $0.storage.first <= storage.last && storage.first <= $0.storage.last }
            for other in neighbours.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
                if offset + length <= other.range.lowerBound { break }
                offset = max(offset, other.range.upperBound)
            }
            placed.append((storage, offset..<offset + length))
            offsets[ObjectIdentifier(storage)] = offset
            size = max(size, offset + length)
        }
        return size
    }
}

extension Graph.Node {
    /// The residual that a product adds to its sums.
    fileprivate var addedResidual: Graph.Value? {
        switch product?.combine {
        case .addBefore, .addAfter: return inputs[1]
        case nil, .some(.none), .interleave: return nil
        }
    }

    /// The input whose memory the output shares; `nil` if the node computes or copies.
    var viewedInput: Graph.Value? {
        guard let x = inputs.first, x.constant == nil, case .operation(let operation) = kind else { return nil }
        switch operation {
        case is ReshapeOperation:
            // Rows of another width need rows that follow each other, and a range of channels has gaps between them.
            return x.width == output.width || !x.isPartOfRows ? x : nil
        case let slice as SliceOperation:
            if slice.axis == x.shape.count - 1 { return x }
            return x.shape[..<slice.axis].allSatisfy({ $0 == 1 }) ? x : nil
        default: return nil
        }
    }

    /// Where in the viewed input the output begins.
    fileprivate var viewOffset: Int {
        guard let slice = operation(as: SliceOperation.self) else { return 0 }
        return slice.range.lowerBound * inputs[0].shape[(slice.axis + 1)...].reduce(1, *)
    }

    /// The parts of a concatenation with the places where they begin in it; `nil` for any other node, or where a part
    /// does not lie in one piece.
    var concatenatedParts: [(value: Graph.Value, offset: Int)]? {
        guard let axis = operation(as: ConcatenateOperation.self)?.axis else { return nil }
        guard axis == output.shape.count - 1 || output.shape[..<axis].allSatisfy({ $0 == 1 }) else { return nil }
        let inner = output.shape[(axis + 1)...].reduce(1, *)
        var offset = 0
        return inputs.map { input in
            defer { offset += input.shape[axis] * inner }
            return (input, offset)
        }
    }
}

extension Graph.Value {
    /// Whether this is a range of the channels of another value.
    fileprivate var isPartOfRows: Bool {
        guard let producer, let source = producer.viewedInput else { return false }
        return source.width != width && producer.operation(as: SliceOperation.self) != nil || source.isPartOfRows
    }
}
