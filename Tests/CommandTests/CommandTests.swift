import Foundation
import Recognite
import TestSupport
import Testing

/// The `recognite` command, from the outside.
@Suite struct CommandTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func path(_ name: String) -> String { folder.path(name) }

    private func writePicture(_ name: String, _ colour: SIMD3<UInt8>) throws -> String {
        var image = RGBImage(width: 60, height: 40, filledWith: colour)
        image.withUnsafeMutablePixels { pixels in
            for index in stride(from: 0, to: pixels.count, by: 7) { pixels[index] = UInt8(index % 251) }
        }
        try Data(PNGEncoder.encode(image)).write(to: URL(filePath: path(name)))
        return path(name)
    }

    /// One line on standard error that names `words`, nothing on standard output, and the exit code.
    private func expectFailure(
        _ result: RecogniteProcess, code: Int32 = 1, naming words: String...,
        location: SourceLocation = #_sourceLocation
    ) {
        #expect(result.status == code, "\(result.errors)", sourceLocation: location)
        #expect(result.output.isEmpty, sourceLocation: location)
        for word in words { #expect(result.errors.contains(word), "\(result.errors)", sourceLocation: location) }
        if code == 1 {
            let lines = result.errors.split(separator: "\n").filter { !$0.hasPrefix("note:") }
            #expect(lines.count == 1, "\(result.errors)", sourceLocation: location)
        }
    }

    @Test func listsModels() throws {
        let result = try RecogniteProcess.run("models", "--json")
        #expect(result.status == 0)
        let rows = try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]])
        #expect(rows.compactMap { $0["name"] as? String } == supportedModels)
        let resnet = try #require(rows.first { $0["name"] as? String == "resnet18" })
        #expect(resnet["parameters"] as? Int == 11_689_512)
        #expect(resnet["embedding_size"] as? Int == 512)
        #expect(resnet["input_size"] as? Int == 224)
        #expect(try RecogniteProcess.run("models").output.contains("resnet18"))
    }

    @Test func inspectsModelsAndFiles() throws {
        let tree = try RecogniteProcess.run("inspect", "resnet18", "--depth", "1")
        #expect(tree.output.contains("layer4") && !tree.output.contains("layer4.0"))
        #expect(tree.output.contains("1,814,073,344"))
        let dot = try RecogniteProcess.run("inspect", "resnet18", "--dot")
        #expect(dot.output.hasPrefix("digraph") && dot.output.contains("\"/layer1\" -> \"/layer1/0\""))
        var state = StateDict()
        state["module.weight"] = StateDict.Entry(.zeros([2, 3]))
        try state.write(safetensorsTo: path("w.safetensors"))
        let file = try RecogniteProcess.run("inspect", path("w.safetensors"))
        #expect(file.output.contains("[2, 3]") && file.output.contains("common prefix of all keys: module."))
        let plan = try RecogniteProcess.run("inspect", "resnet18", "--plan", "--size", "64", "--batch", "4")
        #expect(plan.output.contains("winograd") && plan.output.contains("ms in all for 4 images"))
        expectFailure(try .run("inspect", "resnet18", "--batch", "4"), code: 64, naming: "--batch needs --plan")
        expectFailure(
            try .run("inspect", "resnet18", "--plan", "--batch", "0"), code: 64,
            naming: "--batch must be from 1 to 1024")
        expectFailure(try .run("inspect", "resnet18", "--plan", "--dot"), code: 64, naming: "--plan", "--dot")
        expectFailure(try .run("inspect", path("w.safetensors"), "--plan"), naming: "w.safetensors", "--plan")
        expectFailure(try .run("inspect", "resnet19"), naming: "resnet19", "resnet18")
        expectFailure(try .run("inspect", path("missing.pth")), naming: "missing.pth", "no such file")
    }

    @Test func embedsPicturesAndArraysAlike() throws {
        let pictures = [try writePicture("b.png", [200, 30, 30]), try writePicture("a.png", [20, 30, 220])]
        let run = { (output: String, inputs: [String]) throws -> RecogniteProcess in
            try RecogniteProcess.run(
                "embed", "--model", "resnet18", "--preset", "64/64", "--seed", "3", "-o", path(output), inputs[0],
                inputs[1])
        }
        #expect(try run("e.npy", pictures).status == 0)
        let embeddings = try Tensor(npy: path("e.npy"))
        #expect(embeddings.shape == [2, 512])
        #expect(embeddings.norm().scalars.allSatisfy { abs($0 - 1) < 1e-5 })

        // A folder gives its pictures by name.
        let byFolder = try RecogniteProcess.run(
            "embed", "--model", "resnet18", "--preset", "64/64", "--seed", "3", folder.url.path)
        let lines = byFolder.output.split(separator: "\n")
        #expect(lines.count == 2 && lines[0].contains("a.png") && lines[1].contains("b.png"))

        // The same pictures as an array, one image at a time.
        let preset = ClassificationPreset(cropSize: 64, resizeSize: 64)
        let images = try pictures.map { try RGBImage(contentsOf: $0) }
        try preset(images).permuted([0, 3, 1, 2]).write(npy: path("x.npy"))
        let array = try RecogniteProcess.run(
            "embed", "--model", "resnet18", "--batch-size", "1", "--seed", "3", "--output", path("a.npy"),
            path("x.npy"))
        #expect(array.status == 0, "\(array.errors)")
        let fromArray = try Tensor(npy: path("a.npy"))
        for (a, b) in zip(embeddings.scalars, fromArray.scalars) { #expect(abs(a - b) < 1e-5) }

        #expect(try run("e.csv", pictures).status == 0)
        let csv = try String(contentsOfFile: path("e.csv"), encoding: .utf8).split(separator: "\n")
        #expect(csv.count == 3 && csv[0].hasPrefix("input,0,1,") && csv[1].hasPrefix(pictures[0] + ","))
        #expect(csv[1].split(separator: ",").count == 513)
    }

    @Test func givesLogitsInTrainingMode() throws {
        let pictures = [try writePicture("a.png", [1, 2, 3]), try writePicture("b.png", [250, 2, 3])]
        let result = try RecogniteProcess.run(
            "embed", "--model", "resnet18", "--mode", "train", "--classes", "5", "--preset", "64/64", "--output",
            path("l.npy"), pictures[0], pictures[1])
        #expect(result.status == 0, "\(result.errors)")
        let logits = try Tensor(npy: path("l.npy"))
        #expect(logits.shape == [2, 5])
        #expect(logits.scalars.allSatisfy { abs($0) <= 1 })
        expectFailure(
            try .run("embed", "--model", "resnet18", "--mode", "train", pictures[0]), code: 64, naming: "--classes")
    }

    @Test func reportsWhatItCannotRead() throws {
        let good = try writePicture("good.png", [9, 9, 9])
        let bytes = try Data(contentsOf: URL(filePath: good))
        try Data().write(to: URL(filePath: path("empty.jpg")))
        try bytes.prefix(bytes.count / 2).write(to: URL(filePath: path("cut.png")))

        let skipped = try RecogniteProcess.run(
            "embed", "--model", "resnet18", "--preset", "32/32", "-o", path("e.npy"), path("empty.jpg"), good,
            path("cut.png"))
        #expect(skipped.status == 1)
        #expect(skipped.errors.contains("empty.jpg") && skipped.errors.contains("cut.png"))
        #expect(try Tensor(npy: path("e.npy")).shape == [1, 512])

        expectFailure(
            try .run(
                "embed", "--model", "resnet18", "--strict", "-o", path("s.npy"), good, path("empty.jpg")),
            naming: "empty.jpg")
        #expect(!FileManager.default.fileExists(atPath: path("s.npy")))

        let embed = { (arguments: [String]) throws -> RecogniteProcess in
            try RecogniteProcess.run("embed", "--model", "resnet18", arguments[0], arguments[1], arguments[2])
        }
        expectFailure(try embed(["-o", path("no/e.npy"), good]), naming: "no such folder")
        expectFailure(try embed(["-o", path("e.txt"), good]), naming: "e.txt", ".npy")
        expectFailure(try embed(["--weights", path("missing.pth"), good]), naming: "missing.pth")
        expectFailure(try embed(["--weights", good, good]), naming: "good.png")
        expectFailure(try embed(["--batch-size", "2", path("nothing.png")]), naming: "nothing.png")
        expectFailure(try embed(["--batch-size", "0", good]), code: 64, naming: "--batch-size")
        expectFailure(try .run("embed", "--model", "resnet81", good), naming: "resnet81", "resnet")
        expectFailure(try .run("embed", good), code: 64, naming: "--model")

        try Tensor.zeros([3, 8, 8]).write(npy: path("rank.npy"))
        expectFailure(try embed(["--batch-size", "2", path("rank.npy")]), naming: "rank.npy", "[N, 3, H, W]")
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3, 2, 2), }"
        let padded = header + String(repeating: " ", count: 117 - header.count) + "\n"
        var npy = Data([0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0])
        npy.append(Data(padded.utf8))
        npy.append(Data(count: 96))
        try npy.write(to: URL(filePath: path("double.npy")))
        expectFailure(try embed(["--batch-size", "2", path("double.npy")]), naming: "double.npy", "f8")
    }

    @Test func comparesPictures() throws {
        let a = try writePicture("a.png", [9, 9, 9])
        let result = try RecogniteProcess.run("compare", "--model", "resnet18", "--preset", "32/32", a, a)
        #expect(result.status == 0)
        #expect(result.output.components(separatedBy: "1.000").count == 5, "\(result.output)")
    }

    @Test func classifiesWithTheModelsOwnClassifier() throws {
        let a = try writePicture("a.png", [9, 9, 9])
        for (classes, name) in [(1000, imageNetCategories[0]), (3, "class 0")] {
            let model = try ModelRegistry.makeModel("resnet18", numClasses: classes)
            let classifier = try model.ultimateClassifier()
            classifier.weight.initialize(.zeros)
            var bias = [Float](repeating: 0, count: classes)
            bias[0] = 9
            classifier.bias!.data = Tensor(bias, shape: [classes])
            try model.stateDict().write(safetensorsTo: path("w.safetensors"))
            let result = try RecogniteProcess.run(
                "classify", "--model", "resnet18", "--weights", path("w.safetensors"), "--top", "1", "--preset",
                "32/32", a)
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.output.split(separator: "\n").last?.hasSuffix(name) == true, "\(result.output)")
        }
        expectFailure(try .run("classify", "--model", "resnet18", a), code: 64, naming: "--weights")
    }

    @Test func doctorNamesTheMachine() throws {
        let result = try RecogniteProcess.run(
            "doctor", "--threads", "1", environment: ["RECOGNITE_ISA": "portable"])
        #expect(result.status == 0)
        for word in ["portable", "OpenBLAS", "JPEG", "PNG", "WebP", "ok"] { #expect(result.output.contains(word)) }
        #expect(result.errors.isEmpty)
    }

    @Test func settingsThatCannotBeAreNamed() throws {
        let settings = [
            "RECOGNITE_ISA": "avx", "RECOGNITE_CORES": "amd", "RECOGNITE_ENGINE": "BLAS", "RECOGNITE_NUM_THREADS": "2x",
        ]
        let result = try RecogniteProcess.run("doctor", environment: settings)
        #expect(result.status == 0)
        for (name, value) in settings { #expect(result.errors.contains("\(name)=\(value) is ignored; it may be")) }
        let without = try RecogniteProcess.run("doctor", environment: settings.mapValues { _ in "" })
        #expect(without.errors.isEmpty && without.output == result.output)
    }

    @Test(arguments: ["zen4", "zen5", "intel"]) func doctorNamesTheCores(cores: String) throws {
        let result = try RecogniteProcess.run("doctor", environment: ["RECOGNITE_CORES": cores])
        #expect(result.output.contains("as \(cores)"))
    }
}
