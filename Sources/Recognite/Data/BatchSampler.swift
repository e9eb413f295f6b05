import Tensors

/// In which order pictures come, and which of them together.
public enum BatchSampler: Hashable, Sendable, Codable {
    /// In the table's order.
    case sequential
    /// In another random order in each epoch.
    case shuffled
    /// `perClass` pictures of a class at a time, classes and pictures in random order. Each picture comes once in an epoch;
    /// where a class's number of pictures is no multiple of `perClass`, pictures of it that are drawn at random come once
    /// more to fill its last group up, changed in another way.
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
        case .shuffled: return source.shuffled(labels.indices).inChunks(of: batchSize)
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
            let order = source.shuffled(own)
            for start in stride(from: 0, to: order.count, by: perClass) {
                var group = Array(order[start..<min(start + perClass, order.count)])
                // Not one that the group has already, as long as there are others.
                while group.count < perClass {
                    let others = own.filter { !group.contains($0) }
                    let candidates = others.isEmpty ? own : others
                    group.append(candidates[source.index(below: candidates.count)])
                }
                groups.append(Group(label: label, samples: group))
            }
        }
        return source.shuffled(groups)
    }
}

extension [BatchSampler.Group] {
    /// Batches of so many groups, each of another class as far as their numbers allow, otherwise in the order given: a
    /// group whose class is in the batch already waits for a later one, and a class with as many groups as there are
    /// batches left comes now.
    fileprivate func spread(inBatchesOf size: Int) -> [[BatchSampler.Group]] {
        var own: [Int: [BatchSampler.Group]] = [:]
        for group in reversed() { own[group.label, default: []].append(group) }
        // The classes by how many groups they have left.
        var classes: [Int: Set<Int>] = [:]
        for (label, groups) in own { classes[groups.count, default: []].insert(label) }
        var waiting: [Int] = []
        // Groups that came before their turn, by class: their places in the order are void.
        var early: [Int: Int] = [:]
        var next = 0, left = count
        var batches: [[BatchSampler.Group]] = []
        while left > 0 {
            var batch: [BatchSampler.Group] = []
            var labels: Set<Int> = []
            func take(_ label: Int) {
                let rest = own[label]!.count
                classes[rest]!.remove(label)
                classes[rest - 1, default: []].insert(label)
                batch.append(own[label]!.removeLast())
                labels.insert(label)
            }
            func isVoid(_ label: Int) -> Bool {
                guard let count = early[label], count > 0 else { return false }
                early[label] = count - 1
                return true
            }
            let batchesLeft = (left + size - 1) / size
            let urgent = classes.filter { $0.key >= batchesLeft && $0.key > 0 }.sorted { $0.key > $1.key }
            for label in urgent.flatMap({ $0.value.sorted() }).prefix(size) {
                take(label)
                early[label, default: 0] += 1
            }
            var rest: [Int] = []
            for label in waiting where !isVoid(label) {
                if batch.count < size, !labels.contains(label) { take(label) } else { rest.append(label) }
            }
            while batch.count < size, next < count {
                let label = self[next].label
                next += 1
                if isVoid(label) { continue }
                if labels.contains(label) { rest.append(label) } else { take(label) }
            }
            // Only classes that are there already are left.
            while batch.count < size, !rest.isEmpty { take(rest.removeFirst()) }
            waiting = rest
            left -= batch.count
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
