import Foundation
import Recognite
import TestSupport
import Testing

/// Batches of small drawn pictures: what is random in them, which samples they hold, and what happens on errors.
@Suite struct ImageLoaderTests {
    /// A batch's numbers.
    struct Seen: Equatable {
        let labels: [Int]
        let rows: [Int]
        let shape: [Int]
        let scalars: [Float]
    }

    /// Noise of 8 x 8 pixels, one picture for each label in the list.
    private func makeTable(_ labels: [String], in folder: String) throws -> ImageTable {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var source = RandomSource(seed: 21)
        var rows: [ImageTable.Row] = []
        for (number, label) in labels.enumerated() {
            let bytes = (0..<8 * 8 * 3).map { _ in UInt8.random(in: 0...255, using: &source) }
            let path = "\(folder)/\(number).png"
            try Data(PNGEncoder.encode(RGBImage(width: 8, height: 8, pixels: bytes))).write(to: URL(filePath: path))
            rows.append(.init(path: path, label: label))
        }
        return ImageTable(rows: rows)
    }

    private func withTable(_ labels: [String], _ body: (ImageTable) throws -> Void) throws {
        try withTemporaryFolder { try body(makeTable(labels, in: $0)) }
    }

    private func labels(_ count: Int, of classes: Int) -> [String] { (0..<count).map { "label \($0 % classes)" } }

    private func seen(_ loader: ImageLoader, epoch: Int = 0, from first: Int = 0) throws -> [Seen] {
        try loader.batches(epoch: epoch, startingAt: first).map { result in
            let batch = try result.get()
            return Seen(
                labels: batch.labels, rows: batch.rows, shape: batch.images.shape, scalars: batch.images.scalars)
        }
    }

    /// Everything that can be random.
    private let busy = TrainingTransform(
        size: 6, crop: .resized(scale: 0.3...1, ratio: 0.75...1.333), flip: 0.5,
        affine: AffineJitter(degrees: 15, translation: 0.1, zoom: 0.1, shear: 5),
        color: ColorJitter(brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1), erasing: RandomErasing())

    /// Nothing random: the pixels over 255.
    private let plain = TrainingTransform(size: 8, normalization: .none)

    @Test(arguments: [BatchSampler.sequential, .shuffled, .classBalanced(perClass: 2)])
    func batchesAreTheSameWithAnyNumberOfWorkers(sampler: BatchSampler) throws {
        try withTable(labels(26, of: 5)) { table in
            func loader(_ workers: Int) throws -> ImageLoader {
                try ImageLoader(
                    table, transform: busy, batchSize: 4, sampler: sampler, quarterTurns: true, seed: 7,
                    workers: workers)
            }
            for epoch in [0, 3] {
                let expected = try seen(loader(1), epoch: epoch)
                #expect(expected.allSatisfy { $0.shape == [$0.rows.count, 6, 6, 3] })
                #expect(try seen(loader(2), epoch: epoch) == expected)
                #expect(try seen(loader(5), epoch: epoch) == expected)
            }
        }
    }

    @Test func startingInTheMiddleGivesTheSameBatches() throws {
        try withTable(labels(23, of: 4)) { table in
            let loader = try ImageLoader(table, transform: busy, batchSize: 5, seed: 1)
            let whole = try seen(loader, epoch: 2)
            #expect(whole.count == loader.batchCount && whole.count == 5)
            for first in 0...5 { #expect(try seen(loader, epoch: 2, from: first) == Array(whole[first...])) }
        }
    }

    /// Other orders, other crops and colours of the same picture; each sample once.
    @Test func epochsAndSeedsDiffer() throws {
        try withTable(labels(20, of: 4)) { table in
            let loader = try ImageLoader(table, transform: busy, batchSize: 6, seed: 1)
            let other = try ImageLoader(table, transform: busy, batchSize: 6, seed: 2)
            let runs = try [seen(loader, epoch: 0), seen(loader, epoch: 1), seen(other, epoch: 0)]
            for run in runs { #expect(run.flatMap(\.rows).sorted() == Array(0..<20)) }
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                #expect(runs[a].flatMap(\.rows) != runs[b].flatMap(\.rows))
                // The numbers of each row's picture.
                func pictures(_ run: [Seen]) -> [Int: [Float]] {
                    var result: [Int: [Float]] = [:]
                    for batch in run {
                        for (at, row) in batch.rows.enumerated() {
                            result[row] = Array(batch.scalars[at * 108..<(at + 1) * 108])
                        }
                    }
                    return result
                }
                let (first, second) = (pictures(runs[a]), pictures(runs[b]))
                #expect((0..<20).allSatisfy { first[$0] != second[$0] })
            }
            #expect(try seen(loader, epoch: 1) == runs[1])
        }
    }

    @Test func labelsAreNumberedAsTheyAppearOrAsTold() throws {
        try withTable(["b", "a", "b", "c"]) { table in
            let loader = try ImageLoader(table, transform: plain, batchSize: 4, sampler: .sequential, seed: 0)
            #expect(loader.labels == [0, 1, 0, 2] && loader.classCount == 3)
            let batch = try seen(loader)[0]
            #expect(batch.labels == [0, 1, 0, 2] && batch.rows == [0, 1, 2, 3])
            let pixels = try RGBImage(contentsOf: table.rows[2].path).pixels.map { Float($0) / 255 }
            #expect(zip(batch.scalars[2 * 192..<3 * 192], pixels).allSatisfy { abs($0 - $1) < 1e-6 })
            let told = try ImageLoader(
                table, labelNumbers: ["a": 4, "b": 1, "c": 0], transform: plain, batchSize: 4, seed: 0)
            #expect(told.labels == [1, 4, 1, 0] && told.classCount == 5)
            let error = #expect(throws: ImageLoaderError.self) {
                _ = try ImageLoader(table, labelNumbers: ["a": 0, "b": 1], transform: plain, batchSize: 4, seed: 0)
            }
            #expect(error?.reason == "the label \"c\" has no number")
        }
    }

    @Test func theLastSampleIsMergedDroppedOrKept() throws {
        try withTable(labels(13, of: 3)) { table in
            func sizes(_ rule: ImageLoader.LastSample, _ batchSize: Int = 4) throws -> (ImageLoader, [Int]) {
                let loader = try ImageLoader(
                    table, transform: plain, batchSize: batchSize, lastSample: rule, seed: 5)
                let sizes = try seen(loader).map(\.rows.count)
                #expect(loader.batchCount == sizes.count)
                return (loader, sizes)
            }
            let (merged, mergedSizes) = try sizes(.merged)
            #expect(mergedSizes == [4, 4, 5] && merged.lastSample == .merged)
            #expect(try seen(merged).flatMap(\.rows).sorted() == Array(0..<13))
            let (dropped, droppedSizes) = try sizes(.dropped)
            #expect(droppedSizes == [4, 4, 4] && dropped.lastSample == .dropped)
            let (kept, keptSizes) = try sizes(.kept)
            #expect(keptSizes == [4, 4, 4, 1] && kept.lastSample == nil)
            // More than one, or the only batch.
            let (three, threeSizes) = try sizes(.dropped, 5)
            #expect(threeSizes == [5, 5, 3] && three.lastSample == nil)
            let one = try ImageLoader(table.subset([3]), transform: plain, batchSize: 4, lastSample: .dropped, seed: 5)
            #expect(try seen(one).map(\.rows) == [[0]] && one.batchCount == 1 && one.lastSample == nil)
        }
    }

    /// Numbers of pictures that are multiples: each once, and every batch has exactly two each of three classes.
    @Test func balancedBatches() throws {
        try withTable(labels(48, of: 6)) { table in
            let loader = try ImageLoader(
                table, transform: plain, batchSize: 6, sampler: .classBalanced(perClass: 2), seed: 3)
            #expect(loader.batchCount == 8)
            var orders: Set<[Int]> = []
            for epoch in 0..<20 {
                let batches = try seen(loader, epoch: epoch)
                #expect(batches.count == 8)
                for batch in batches {
                    let counts = Dictionary(grouping: batch.labels, by: { $0 }).mapValues(\.count)
                    #expect(counts.count == 3 && counts.values.allSatisfy { $0 == 2 }, "\(batch.labels)")
                    #expect(batch.labels == batch.rows.map { $0 % 6 })
                }
                #expect(batches.flatMap(\.rows).sorted() == Array(0..<48))
                orders.insert(batches.flatMap(\.rows))
            }
            #expect(orders.count == 20)
        }
    }

    /// 5, 3, 4 and 1 pictures of a class in threes: each at least once, groups are filled up with others of the class.
    @Test func balancedBatchesOfUnevenClasses() throws {
        try withTable(["a", "a", "a", "a", "a", "b", "b", "b", "c", "c", "c", "c", "d"]) { table in
            let loader = try ImageLoader(
                table, transform: plain, batchSize: 6, sampler: .classBalanced(perClass: 3), seed: 4)
            // 2 + 1 + 2 + 1 groups, two in a batch.
            #expect(loader.batchCount == 3)
            for epoch in 0..<20 {
                let batches = try seen(loader, epoch: epoch)
                #expect(batches.map(\.rows.count) == [6, 6, 6])
                for batch in batches {
                    let counts = Dictionary(grouping: batch.labels, by: { $0 }).mapValues(\.count)
                    #expect(counts.count == 2 && counts.values.allSatisfy { $0 == 3 }, "\(batch.labels)")
                    // No picture twice in a group as long as the class has others.
                    for label in counts.keys where label != 3 {
                        let rows = zip(batch.rows, batch.labels).filter { $0.1 == label }.map(\.0)
                        #expect(Set(rows).count == 3)
                    }
                }
                let times = Dictionary(grouping: batches.flatMap(\.rows), by: { $0 }).mapValues(\.count)
                #expect(Set(times.keys) == Set(0..<13))
                #expect(times[12] == 3 && (5..<8).allSatisfy { times[$0] == 1 })
            }
            let error = #expect(throws: ImageLoaderError.self) {
                _ = try ImageLoader(
                    table, transform: plain, batchSize: 8, sampler: .classBalanced(perClass: 3), seed: 4)
            }
            #expect(error.map { "\($0)" }?.contains("batches of 8 are no multiple of 3") == true)
        }
    }

    /// Class c turned by k quarters clockwise is k C + c; mirrored and then turned, as much further on.
    @Test(arguments: [(true, false), (true, true), (false, true)])
    func turnedAndMirroredPicturesAreClassesOfTheirOwn(quarterTurns: Bool, mirrors: Bool) throws {
        try withTable(["x", "y", "x"]) { table in
            let loader = try ImageLoader(
                table, transform: plain, batchSize: 5, quarterTurns: quarterTurns, mirrors: mirrors, seed: 6)
            let turns = quarterTurns ? 4 : 1
            let ways = turns * (mirrors ? 2 : 1)
            #expect(loader.classCount == 2 * ways && loader.sampleCount == 3 * ways)
            var found: Set<[Int]> = []
            for batch in try seen(loader) {
                for (at, (row, label)) in zip(batch.rows, batch.labels).enumerated() {
                    found.insert([row, label])
                    #expect(label % 2 == (row == 1 ? 1 : 0))
                    let picture = try RGBImage(contentsOf: table.rows[row].path)
                    let way = label / 2
                    let turned = (0..<way % turns).reduce(way < turns ? picture : picture.oriented(by: .mirrored)) {
                        turned, _ in turned.oriented(by: .right)
                    }
                    let pixels = turned.pixels.map { Float($0) / 255 }
                    #expect(
                        zip(batch.scalars[at * 192..<(at + 1) * 192], pixels).allSatisfy { abs($0 - $1) < 1e-6 },
                        "row \(row), label \(label)")
                }
            }
            #expect(found.count == 3 * ways)
        }
    }

    @Test(arguments: [1, 3]) func anUnreadablePictureIsNamedAndEndsTheEpoch(workers: Int) throws {
        try withTable(labels(12, of: 3)) { table in
            let path = table.rows[5].path
            try Data("no picture".utf8).write(to: URL(filePath: path))
            let loader = try ImageLoader(
                table, transform: plain, batchSize: 2, sampler: .sequential, seed: 0, workers: workers)
            var batches = loader.batches()
            for first in [0, 2] {
                let rows = try batches.next()?.get().rows
                #expect(rows == [first, first + 1])
            }
            let next = batches.next()
            let failed = try #require(next)
            let error = #expect(throws: ImageLoaderError.self) { _ = try failed.get() }
            #expect(error?.reason.contains(path) == true && error?.reason.contains("\"label 2\"") == true)
            for _ in 0..<2 {
                let isOver = batches.next() == nil
                #expect(isOver)
            }
            // One that has gone.
            try FileManager.default.removeItem(atPath: path)
            let results = Array(loader.batches())
            #expect(results.count == 3)
            let gone = #expect(throws: ImageLoaderError.self) { _ = try results[2].get() }
            #expect(gone?.reason.contains(path) == true)
        }
    }

    /// The row is that of the CSV, however the table was divided since.
    @Test func anUnreadablePictureHasTheRowOfItsFile() throws {
        try withTemporaryFolder { folder in
            let labels = labels(12, of: 4)
            try makeTable(labels, in: folder).write(csv: folder + "/all.csv")
            let text = try String(contentsOfFile: folder + "/all.csv", encoding: .utf8)
            try text.replacing("\n3.png", with: "\n\n3.png").write(
                toFile: folder + "/t.csv", atomically: true, encoding: .utf8)
            let table = try ImageTable(csv: folder + "/t.csv")
            let (train, validation) = try table.kFoldSplit(folds: 2, validationFold: 1, seed: 3)
            let (gallery, query, _) = validation.galleryQuerySplit(references: 1, seed: 3)
            for (part, name) in [(train, "train"), (gallery, "gallery"), (query, "query")] {
                let row = try #require(part.rows.last)
                let number = try #require(Int((row.path as NSString).lastPathComponent.dropLast(4)))
                let bytes = try #require(FileManager.default.contents(atPath: row.path))
                try Data("no picture".utf8).write(to: URL(filePath: row.path))
                let loader = try ImageLoader(part, transform: plain, batchSize: 2, seed: 0)
                let error = #expect(throws: ImageLoaderError.self, "\(name)") { _ = try seen(loader) }
                // Behind the header, and from 3 on behind a blank line.
                let expected = "(row \(number + (number < 3 ? 2 : 3)) of \(folder)/t.csv, label \"\(row.label)\")"
                let reason = error?.reason ?? ""
                #expect(reason.hasPrefix(row.path) && reason.hasSuffix(expected), "\(reason)")
                try bytes.write(to: URL(filePath: row.path))
            }
        }
    }

    /// A picture that fills its group up several times is changed in another way each time, and as without a sampler
    /// the first time; from any batch of the epoch on.
    @Test func repeatedPicturesAreChangedInOtherWays() throws {
        try withTable(["a", "a", "b", "b", "b", "c"]) { table in
            func loader(_ sampler: BatchSampler) throws -> ImageLoader {
                try ImageLoader(table, transform: busy, batchSize: 4, sampler: sampler, seed: 4, workers: 3)
            }
            func pictures(_ batches: [Seen]) -> [Int: [[Float]]] {
                var result: [Int: [[Float]]] = [:]
                for batch in batches {
                    for (at, row) in batch.rows.enumerated() {
                        result[row, default: []].append(Array(batch.scalars[at * 108..<(at + 1) * 108]))
                    }
                }
                return result
            }
            let balanced = try loader(.classBalanced(perClass: 4))
            for epoch in 0..<3 {
                let batches = try seen(balanced, epoch: epoch)
                let own = pictures(batches), once = pictures(try seen(loader(.shuffled), epoch: epoch))
                #expect(own[5]?.count == 4 && own.values.map(\.count).reduce(0, +) == 12)
                for (row, times) in own {
                    #expect(Set(times).count == times.count, "row \(row)")
                    #expect(times.first == once[row]?.first)
                }
                for first in 0...batches.count {
                    #expect(try seen(balanced, epoch: epoch, from: first) == Array(batches[first...]))
                }
            }
        }
    }

    /// No thread works on when an epoch has been abandoned: none holds the loader, and none waits for the end of a
    /// batch.
    @Test func abandonedEpochsAreOver() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/large.png"
            let picture = RGBImage(width: 500, height: 500, filledWith: [9, 200, 30])
            try Data(PNGEncoder.encode(picture)).write(to: URL(filePath: path))
            let table = ImageTable(rows: Array(repeating: .init(path: path, label: "x"), count: 300))
            var loader: ImageLoader? = try ImageLoader(table, transform: busy, batchSize: 300, seed: 8, workers: 3)
            weak let released = loader
            let clock = ContinuousClock()
            let whole = try clock.measure { _ = try seen(#require(loader)) }
            for _ in 0..<5 {
                let part = clock.measure { abandon(loader) }
                #expect(part < whole / 2)
            }
            abandon(loader)
            loader = nil
            #expect(released == nil)
        }
    }

    /// Begins an epoch and gives it up while threads are at work.
    @inline(never) private func abandon(_ loader: ImageLoader?) {
        let batches = loader?.batches()
        Thread.sleep(forTimeInterval: 0.02)
        withExtendedLifetime(batches) {}
    }

    /// Whoever stops early leaves no thread behind that the others would wait for.
    @Test func epochsMayBeAbandoned() throws {
        try withTable(labels(40, of: 4)) { table in
            let loader = try ImageLoader(table, transform: busy, batchSize: 2, seed: 8, workers: 3)
            let expected = try seen(loader)
            for taken in [0, 1, 2, 7] {
                for _ in 0..<10 {
                    var batches = loader.batches()
                    for index in 0..<taken {
                        let rows = try batches.next()?.get().rows
                        #expect(rows == expected[index].rows)
                    }
                }
            }
            #expect(try seen(loader) == expected)
        }
    }

    /// Pictures are decoded once: later epochs do not need the files.
    @Test func cachedPicturesGiveTheSameBatches() throws {
        try withTable(labels(14, of: 3)) { table in
            func loader(_ megabytes: Int) throws -> ImageLoader {
                try ImageLoader(
                    table, transform: busy, batchSize: 4, quarterTurns: true, seed: 9, cacheMegabytes: megabytes)
            }
            let expected = try (0..<2).map { try seen(loader(0), epoch: $0) }
            let cached = try loader(1)
            #expect(try seen(cached, epoch: 0) == expected[0])
            for row in table.rows { try FileManager.default.removeItem(atPath: row.path) }
            #expect(try seen(cached, epoch: 1) == expected[1])
            #expect(throws: ImageLoaderError.self) { _ = try seen(loader(0)) }
        }
    }

    @Test func evaluationKeepsTheTablesOrder() throws {
        try withTable(labels(7, of: 3)) { table in
            let one = try ImageLoader(table, transform: EvaluationTransform(size: 8), batchSize: 3)
            let batches = try seen(one)
            #expect(batches.map(\.rows) == [[0, 1, 2], [3, 4, 5], [6]] && one.lastSample == nil)
            #expect(batches.flatMap(\.labels) == [0, 1, 2, 0, 1, 2, 0])
            #expect(batches.map(\.shape) == [[3, 8, 8, 3], [3, 8, 8, 3], [1, 8, 8, 3]])
            let three = try ImageLoader(
                table, transform: EvaluationTransform(size: 8, threeCrop: true), batchSize: 3)
            let crops = try seen(three)
            #expect(crops.map(\.shape) == [[9, 8, 8, 3], [9, 8, 8, 3], [3, 8, 8, 3]])
            // Of a square picture all three are the whole.
            #expect(Array(crops[2].scalars[..<192]) == batches[2].scalars)
            #expect(Array(crops[2].scalars[384...]) == batches[2].scalars)
        }
    }

    @Test func thereMustBePictures() {
        let error = #expect(throws: ImageLoaderError.self) {
            _ = try ImageLoader(ImageTable(rows: []), transform: plain, batchSize: 4, seed: 0)
        }
        #expect(error?.reason == "there are no pictures")
    }
}
