import ArgumentParser
import Recognite

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate", abstract: "Measure how well pictures are recognized by references.",
        discussion: """
            Each query is compared with all pictures of the gallery. The table on standard output has the part that is \
            recognized, measures of the ranking, and how well a threshold on the scores tells pairs of one label from \
            others; --report adds a page with curves and with the best and worst retrievals. --size, --norm-mean and \
            --norm-std must be those of the training; weights files of `recognite train` name them.
            """)

    @OptionGroup(title: "Recognizer") var model: EvaluationModel
    @OptionGroup(title: "Pictures") var data: EvaluationData
    @OptionGroup(title: "Few-shot recognition") var fewShot: FewShotOptions

    @Option(help: "How alike two embeddings are.")
    var metric = SimilarityMetric.inner
    @Flag(help: "Average the gallery's embeddings of each label.")
    var averageRefs = false
    @Option(help: ArgumentHelp("Pictures that are run through the network at once.", valueName: "n"))
    var batchSize = 32
    @Option(help: ArgumentHelp("Threads that read pictures.", valueName: "n"))
    var workers = 2

    @Option(
        help: ArgumentHelp(
            "Also write index.html, a page of its own, and metrics.json into this folder.", valueName: "folder"))
    var report: String?
    @Flag(help: "Print the metrics as JSON.")
    var json = false
    @Option(
        help: ArgumentHelp(
            "Also write the scores [Q, G], a row for each query; with --average-refs a column for each label.",
            valueName: "file.npy"))
    var scores: String?
    @Option(
        help: ArgumentHelp(
            "Also write the embeddings [G + Q, D], the gallery's before the queries'.", valueName: "file.npy"))
    var embeddings: String?

    @OptionGroup var engine: EngineOptions

    func validate() throws {
        guard batchSize > 0 else { throw ValidationError("--batch-size must be positive") }
        guard workers > 0 else { throw ValidationError("--workers must be positive") }
    }

    func run() throws {
        try engine.apply {
            let (gallery, query) = try data.tables()
            if fewShot.fewShotWays != nil, EvaluationData.shared(gallery, query) > 0 {
                throw InputError(
                    path: data.query ?? "", problem: "shares pictures with the gallery; few-shot episodes need others")
            }
            let loaded = try model.load()
            // What cannot be written is known before the work.
            let size = loaded.descriptor?.whitening?.dimension ?? loaded.recognizer.embeddingSize
            let files = try Files(self, embeddingSize: size, gallery: gallery)
            let evaluation = try RecognitionEvaluation(
                gallery: gallery, query: query, transform: loaded.transform, batchSize: batchSize, workers: workers,
                metric: metric, averagesReferences: averageRefs, descriptor: loaded.descriptor)
            let all = try Embeddings(evaluation, loaded.recognizer)
            try finish(all, loaded, files)
        }
    }

    /// Everything behind the network.
    private func finish(_ all: Embeddings, _ loaded: EvaluationModel.Loaded, _ files: Files) throws {
        let metrics = RetrievalMetrics(
            queries: all.queries, queryLabels: all.queryLabels, gallery: all.references,
            galleryLabels: all.referenceLabels, metric: metric)
        let outcome = try fewShotOutcome(all)
        var result = EvaluationReport(
            title: "Evaluation of \(loaded.recognizer.modelName)", description: description(all, loaded),
            metrics: metrics, fewShot: outcome)
        print(json ? try result.json() : result.summary)
        try files.embeddings?.append(all.gallery)
        try files.embeddings?.append(all.queries)
        try files.embeddings?.finish()
        if let writer = files.scores {
            try metric.forEachBlock(queries: all.queries, gallery: all.references) { _, scores in
                try writer.append(scores)
            }
            try writer.finish()
        }
        if let report {
            (result.best, result.worst) = EvaluationReport.retrievals(
                queries: all.queries, queryTable: all.queryTable, gallery: all.references,
                galleryTable: all.referenceTable, metric: metric)
            try result.write(to: report)
        }
    }

    private func fewShotOutcome(_ all: Embeddings) throws -> EvaluationReport.FewShotOutcome? {
        guard let settings = fewShot.settings(seed: engine.seed) else { return nil }
        let labels = all.galleryLabels + all.queryLabels
        let groups = fewShot.groups(
            names: (all.galleryTable.rows + all.queryTable.rows).map(\.label), labels: labels)
        let result = settings.evaluate(
            embeddings: .concatenated([all.gallery, all.queries], axis: 0), labels: labels, groups: groups?.of,
            metric: metric)
        guard let result else {
            throw InputError(
                path: data.name,
                problem: "no \(fewShot.groupByFolder ? "group" : "set") of two labels with "
                    + "\(settings.shots + settings.queries) pictures each, for few-shot episodes")
        }
        return EvaluationReport.FewShotOutcome(settings: settings, result: result, groupNames: groups?.names ?? [:])
    }

    private func description(
        _ all: Embeddings, _ loaded: EvaluationModel.Loaded
    ) -> [(name: String, value: String)] {
        let transform = loaded.transform
        return [
            ("model", "\(loaded.recognizer.modelName), \(loaded.recognizer.parameterCount) parameters"),
            ("weights", model.weights ?? "random, seed \(engine.seed)"),
            ("data", data.name),
            (
                "pictures",
                "\(all.galleryTable.count) in the gallery, \(all.queryTable.count) queries, "
                    + "\(Set(all.queryLabels).count) labels"
            ),
            ("input", "\(transform.size) x \(transform.size) pixels" + (transform.isThreeCrop ? ", three crops" : "")),
            ("scores", metric.rawValue + (averageRefs ? ", references of each label averaged" : "")),
            ("descriptor", model.descriptor ?? "none"),
        ]
    }

    /// The files of numbers that are asked for.
    private struct Files {
        let embeddings: NumpyWriter?
        let scores: NumpyWriter?

        init(_ command: EvaluateCommand, embeddingSize: Int, gallery: ImageTable) throws {
            let references = command.averageRefs ? gallery.labels.count : gallery.count
            embeddings = try command.embeddings.map { try NumpyWriter(path: $0, columns: embeddingSize) }
            scores = try command.scores.map { try NumpyWriter(path: $0, columns: references) }
        }
    }

    /// What the network made of the pictures.
    private struct Embeddings {
        let galleryTable: ImageTable
        let queryTable: ImageTable
        /// `[G, D]` and `[Q, D]`.
        let gallery: Tensor
        let queries: Tensor
        let galleryLabels: [Int]
        let queryLabels: [Int]
        /// What queries are compared with: the gallery, or the mean of each label with its first picture.
        let references: Tensor
        let referenceLabels: [Int]
        let referenceTable: ImageTable

        init(_ evaluation: RecognitionEvaluation, _ recognizer: Recognizer) throws {
            (galleryTable, queryTable) = (evaluation.gallery.table, evaluation.query.table)
            gallery = try recognizer.embeddings(of: evaluation.gallery, descriptor: evaluation.descriptor)
            queries = try recognizer.embeddings(of: evaluation.query, descriptor: evaluation.descriptor)
            (galleryLabels, queryLabels) = (evaluation.gallery.labels, evaluation.query.labels)
            if evaluation.averagesReferences {
                (references, referenceLabels) = averageReferences(gallery, labels: galleryLabels)
                let labels = galleryLabels
                referenceTable = galleryTable.subset(referenceLabels.map { labels.firstIndex(of: $0)! })
            } else {
                (references, referenceLabels, referenceTable) = (gallery, galleryLabels, galleryTable)
            }
        }
    }
}

extension SimilarityMetric: ExpressibleByArgument {}
