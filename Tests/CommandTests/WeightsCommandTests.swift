import Foundation
import Recognite
import TestSupport
import Testing

/// `recognite weights` and `--weights` with names: caches of the tests' own, and nothing from outside this machine.
@Suite struct WeightsCommandTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try FileManager.default.createDirectory(
            at: folder.url.appending(path: "hub/checkpoints"), withIntermediateDirectories: true)
    }

    private func path(_ name: String) -> String { folder.path(name) }

    /// The command with its own cache, and a mirror that is not there unless it is named.
    private func run(_ arguments: String..., mirror: String = "http://127.0.0.1:1") throws -> RecogniteProcess {
        try RecogniteProcess.run(
            arguments, environment: ["TORCH_HOME": folder.url.path, "RECOGNITE_WEIGHTS_URL": mirror])
    }

    private func expectFailure(
        _ result: RecogniteProcess, naming words: String..., location: SourceLocation = #_sourceLocation
    ) {
        #expect(result.status == 1 && result.output.isEmpty, "\(result.errors)", sourceLocation: location)
        for word in words { #expect(result.errors.contains(word), "\(result.errors)", sourceLocation: location) }
        let lines = result.errors.split(separator: "\n").filter { !$0.hasPrefix("note:") }
        #expect(lines.count == 1, "\(result.errors)", sourceLocation: location)
    }

    @Test func listsTheCatalogue() throws {
        let list = try run("weights", "list", "resnet50", "vit_b_16")
        #expect(
            list.status == 0 && list.output.contains(/IMAGENET1K_V2 +80.858 .* 232\/224:bilinear +default/),
            "\(list.output)")
        #expect(list.output.contains("384/384:bicubic") && list.output.contains("SWAG/blob/main/LICENSE"))
        let all = try run("models", "--weights", "--json")
        let rows = try #require(try JSONSerialization.jsonObject(with: Data(all.output.utf8)) as? [[String: Any]])
        #expect(rows.count == 113)
        let row = try #require(rows.first { $0["full_name"] as? String == "ResNet50_Weights.IMAGENET1K_V2" })
        #expect(row["url"] as? String == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth")
        #expect(row["downloaded"] as? Bool == false && row["top1"] as? Double == 80.858)
        #expect((row["preset"] as? [String: Any])?["resize"] as? Int == 232)
        #expect(try run("weights", "list", "--downloaded", "--json").output == "[\n\n]\n")
        expectFailure(try run("weights", "list", "resnet51"), naming: "resnet51", "resnet50")
    }

    @Test func printsPaths() throws {
        let missing = try run("weights", "path", "resnet50", "IMAGENET1K_V1")
        #expect(missing.status == 1)
        #expect(missing.output == path("hub/checkpoints/resnet50-0676ba61.pth") + "\n")
        try Data([1]).write(to: URL(filePath: path("hub/checkpoints/resnet50-11ad3fa6.pth")))
        for arguments in [["resnet50"], ["resnet50", "DEFAULT"], ["ResNet50_Weights.IMAGENET1K_V2"]] {
            let there = try RecogniteProcess.run(
                ["weights", "path"] + arguments, environment: ["TORCH_HOME": folder.url.path])
            #expect(there.status == 0 && there.output == path("hub/checkpoints/resnet50-11ad3fa6.pth") + "\n")
        }
        // What is there is not downloaded.
        #expect(try run("weights", "fetch", "resnet50").status == 0)
        expectFailure(try run("weights", "path", "resnet50", "V9"), naming: "V9", "IMAGENET1K_V1")
    }

    #if canImport(Glibc)
        @Test(.timeLimit(.minutes(1))) func fetchesFromAMirror() throws {
            let server = try FileServer()
            defer { server.stop() }
            let name = "resnet18-f37072fd.pth"
            server.serve([1, 2, 3], as: name)
            expectFailure(
                try run("weights", "fetch", "resnet18", mirror: server.address), naming: "SHA-256", "f37072fd")
            expectFailure(
                try run("weights", "fetch", "resnet34", "--mirror", server.address), naming: "404", "resnet34-b627a593")
            expectFailure(
                try run("weights", "fetch", "resnet18"), naming: "http://127.0.0.1:1/" + name,
                path("hub/checkpoints/" + name))
            #expect(server.takeRequests().map(\.path) == ["/models/\(name)", "/models/resnet34-b627a593.pth"])
            let left = try FileManager.default.contentsOfDirectory(atPath: path("hub/checkpoints"))
            #expect(left == [])
        }
    #endif

    /// Named weights bring their preset: bicubic and 232 are not what a file would get.
    @Test func namedWeightsComeWithTheirPreset() throws {
        var image = RGBImage(width: 300, height: 260, filledWith: [20, 80, 140])
        image.withUnsafeMutablePixels { pixels in
            for index in pixels.indices { pixels[index] = UInt8(truncatingIfNeeded: index &* index >> 5) }
        }
        try Data(PNGEncoder.encode(image)).write(to: URL(filePath: path("a.png")))
        let entry = try WeightCatalogue.entry("DEFAULT", of: "mnasnet0_75")
        #expect(entry.preset.resizeSize == 232)
        let model = withRandomSeed(1) { MNASNet(width: 0.75) }
        let file = path("hub/checkpoints/" + entry.fileName)
        try model.stateDict().write(safetensorsTo: file)

        let recognizer = try Recognizer("mnasnet0_75", weights: .file(file))
        recognizer.eval()
        let picture = try RGBImage(contentsOf: path("a.png"))
        func embedding(_ preset: ClassificationPreset) -> [Float] {
            GradientMode.disabled { recognizer(preset([picture])) }.scalars
        }
        func difference(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).map { abs($0 - $1) }.max()! }
        let named = embedding(entry.preset)
        #expect(difference(named, embedding(.standard(inputSize: 224))) > 1e-4)
        let result = try run(
            "embed", "--model", "mnasnet0_75", "--weights", "DEFAULT", "-o", path("e.npy"), path("a.png"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(difference(try Tensor(npy: path("e.npy")).scalars, named) < 1e-5)
        let classified = try run(
            "classify", "--model", "mnasnet0_75", "--weights", "MNASNet0_75_Weights.IMAGENET1K_V1", path("a.png"))
        #expect(classified.status == 0 && classified.output.contains(" %  "), "\(classified.errors)")
        let compared = try run("compare", "--model", "mnasnet0_75", "--weights", "DEFAULT", path("a.png"))
        #expect(compared.status == 0 && compared.output.contains("1.000"))
        expectFailure(
            try run("embed", "--model", "mnasnet0_75", "--weights", "IMAGENET1K_V2", path("a.png")),
            naming: "IMAGENET1K_V2", "IMAGENET1K_V1")
        expectFailure(
            try run("embed", "--model", "mnasnet0_5", "--weights", "DEFAULT", path("a.png")),
            naming: "http://127.0.0.1:1/mnasnet0.5_top1_67.823-3ffadce67e.pth")
    }

    @Test func imagesThatAModelCannotTakeAreAnError() throws {
        func write(_ count: Int, _ side: Int, _ name: String) throws {
            let images = ReferenceFill.images(count, side, side, salt: "command")
            try images.permuted([0, 3, 1, 2]).write(npy: path(name))
        }
        try write(1, 4, "small.npy")
        try write(3, 32, "three.npy")
        for (model, size) in [("densenet121", "29 x 29"), ("vgg11", "32 x 32"), ("vit_b_32", "224 x 224")] {
            expectFailure(
                try run("embed", "--model", model, "-o", path("e.npy"), path("small.npy")), naming: "small.npy[0]",
                model, size)
        }
        #expect(try run("embed", "--model", "resnet18", path("small.npy")).status == 0)
        let train = ["embed", "--model", "resnet18", "--mode", "train", "--classes", "2"]
        expectFailure(
            try .run(train + [path("small.npy")], environment: [:]), naming: "small.npy[0]", "batch norm", "layer1")
        // The last batch of three by twos has one image.
        expectFailure(
            try .run(train + ["--batch-size", "2", "-o", path("e.npy"), path("three.npy")], environment: [:]),
            naming: "three.npy[2]", "batch norm")
        #expect(!FileManager.default.fileExists(atPath: path("e.npy")))
        #expect(try RecogniteProcess.run(train + [path("three.npy")], environment: [:]).status == 0)
        expectFailure(try run("inspect", "inception_v3", "--size", "70"), naming: "75 x 75")
        expectFailure(try run("inspect", "vit_b_16", "--size", "100"), naming: "100 x 100")
        #expect(try run("inspect", "vit_b_32", "--size", "96", "--depth", "0").output.contains("vit_b_32"))
        expectFailure(
            try run("embed", "--model", "maxvit_t", "--image-size", "230", path("small.npy")), naming: "230 x 230")
        try write(1, 64, "64.npy")
        #expect(try run("embed", "--model", "vit_b_32", "--image-size", "64", path("64.npy")).status == 0)
    }
}
