import Tensors

/// In which order pictures come, and which of them together.
public enum BatchSampler: Hashable, Sendable, Codable {
    /// In the table's order.
    case sequential
    /// In another random order in each epoch.
    case shuffled
    /// `perClass` pictures of a class at a time, classes and pictures in random order. Each picture comes once in an epoch;
    /// where a class's number of pictures is no multiple of `perClass`, pictures of it that are drawn at random come once
    /// more to fill its last group up.
    case classBalanced(perClass: Int)

    /// The batches of an epoch, as indices of samples.
    ///
    /// - Parameters:
    ///   - labels: of each sample.
    ///   - source: seeded by the epoch.
    /// - Precondition: `batchSize` is a multiple of `perClass`.
    func batches(labels: [Int], batchSize: Int, using source: inout RandomSource) -> [[Int]] {
        switch self {
        case .sequential: return Array(labels.indices).inChunks(of: batchSize)
        case .shuffled: return labels.indices.shuffled(using: &source).inChunks(of: batchSize)
        case .classBalanced(let perClass):
            return groups(labels, perClass, using: &source).spread(inBatchesOf: batchSize / perClass).map {
                $0.flatMap(\.samples)
            }
        }
    }

    fileprivate struct Group {
        let label: Int
        let samples: [Int]
    }

    private func groups(_ labels: [Int], _ perClass: Int, using source: inout RandomSource) -> [Group] {
        var samples: [Int: [Int]] = [:]
        for (index, label) in labels.enumerated() { samples[label, default: []].append(index) }
        var groups: [Group] = []
        for label in samples.keys.sorted() {
            let own = samples[label]!
            let order = own.shuffled(using: &source)
            for start in stride(from: 0, to: order.count, by: perClass) {
                var group = Array(order[start..<min(start + perClass, order.count)])
                // Not one that the group has already, as long as there are others.
                while group.count < perClass {
                    let others = own.filter { !group.contains($0) }
                    group.append((others.isEmpty ? own : others).randomElement(using: &source)!)
                }
                groups.append(Group(label: label, samples: group))
            }
        }
        return groups.shuffled(using: &source)
    }
}

extension [BatchSampler.Group] {
    /// Batches of so many groups, each of another class as far as the order allows: a group whose class is in the batch
    /// already waits for a later one.
    fileprivate func spread(inBatchesOf size: Int) -> [[BatchSampler.Group]] {
        var waiting = self[...]
        var batches: [[BatchSampler.Group]] = []
        while !waiting.isEmpty {
            var batch: [BatchSampler.Group] = []
            var labels: Set<Int> = []
            var rest: [BatchSampler.Group] = []
            while batch.count < size, let group = waiting.popFirst() {
                if labels.insert(group.label).inserted { batch.append(group) } else { rest.append(group) }
            }
            // Only classes that are there already are left.
            let missing = Swift.min(size - batch.count, rest.count)
            batch += rest.prefix(missing)
            waiting = rest.dropFirst(missing) + waiting
            batches.append(batch)
        }
        return batches
    }
}

extension Array {
    func inChunks(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}
