import Dispatch
import Recognite

/// Runs a network over a command's inputs, batch by batch.
struct BatchRunner {
    let options: InputOptions
    let preset: ClassificationPreset
    /// What errors call the network; `nil`: what it calls itself.
    var modelName: String?
    /// What is made of a recognizer's embeddings; it has been prepared for that.
    var descriptor: EmbeddingDescriptor?

    /// One input's output: a picture's path, or an array's path with the image's index in it.
    struct Result {
        let name: String
        /// `[D]`.
        let output: Tensor
    }

    /// Calls `consume` with each input's output, in order.
    ///
    /// - Returns: how many pictures could not be read; each is reported on standard error.
    /// - Throws: with `--strict`, the first of those errors.
    func run(
        _ network: Module, consume: ([Result]) throws -> Void
    ) throws -> Int {
        let inputs = try options.collect()
        var unreadable = 0
        var bar = ProgressBar(total: inputs.count, unit: "inputs")
        defer { bar.finish() }
        var done = 0
        var pictures: [String] = []

        func flush() throws {
            guard !pictures.isEmpty else { return }
            var names: [String] = []
            var images: [RGBImage] = []
            for (path, picture) in zip(pictures, Self.decode(pictures, orient: options.exifOrientation)) {
                switch picture {
                case .success(let image):
                    names.append(path)
                    images.append(image)
                case .failure(let error):
                    if options.strict { throw error }
                    bar.finish()
                    StandardError.line("skipped \(error)")
                    unreadable += 1
                }
            }
            if !images.isEmpty { try consume(results(network, preset(images), names)) }
            done += pictures.count
            bar.show(done)
            pictures = []
        }

        for input in inputs {
            switch input {
            case .picture(let path):
                pictures.append(path)
                if pictures.count == options.batchSize { try flush() }
            case .array(let path, let images):
                try flush()
                for low in stride(from: 0, to: images.shape[0], by: options.batchSize) {
                    let high = min(images.shape[0], low + options.batchSize)
                    let names = (low..<high).map { "\(path)[\($0)]" }
                    try consume(results(network, images.sliced(axis: 0, low..<high), names))
                }
                done += 1
                bar.show(done)
            }
        }
        try flush()
        return unreadable
    }

    private func results(_ network: Module, _ images: Tensor, _ names: [String]) throws -> [Result] {
        do {
            try network.checkInput(shape: images.shape, named: modelName)
        } catch {
            throw InputError(path: names.count == 1 ? names[0] : "\(names[0]) …", problem: "\(error)")
        }
        let output =
            if let descriptor, let recognizer = network as? Recognizer {
                try descriptor.embeddings(recognizer, images)
            } else {
                GradientMode.disabled { network(images) }
            }
        return names.enumerated().map { index, name in
            Result(name: name, output: output.sliced(axis: 0, index..<index + 1).reshaped([output.shape[1]]))
        }
    }

    /// The pictures, decoded side by side.
    private static func decode(_ paths: [String], orient: Bool) -> [Swift.Result<RGBImage, ImageError>] {
        var results = [Swift.Result<RGBImage, ImageError>?](repeating: nil, count: paths.count)
        results.withUnsafeMutableBufferPointer { buffer in
            // Each iteration writes its own element.
            nonisolated(unsafe) let target = buffer
            DispatchQueue.concurrentPerform(iterations: paths.count) { index in
                target[index] = Swift.Result { () throws(ImageError) in
                    try RGBImage(contentsOf: paths[index], applyingOrientation: orient)
                }
            }
        }
        return results.map { $0! }
    }
}
