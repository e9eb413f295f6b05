import Recognite
import Testing

/// The catalogue against the models and against what torchvision's own pages say.
@Suite struct WeightCatalogueTests {
    @Test func everyModelHasItsEntriesAndOneDefault() {
        // The number that torchvision 0.29 has for these models; Tools/make_weight_catalogue.py --check compares all.
        #expect(WeightCatalogue.entries.count == 113)
        #expect(Set(WeightCatalogue.entries.map(\.model)) == Set(supportedModels))
        for model in supportedModels {
            let entries = WeightCatalogue.entries(of: model)
            #expect(entries.filter(\.isDefault).count == 1, "\(model)")
            #expect(Set(entries.map(\.name)).count == entries.count && Set(entries.map(\.className)).count == 1)
        }
        #expect(Set(WeightCatalogue.entries.map(\.fullName)).count == 113)
    }

    @Test(arguments: WeightCatalogue.entries) func entryIsPlausible(entry: WeightEntry) throws {
        #expect(entry.url.hasPrefix("https://download.pytorch.org/models/"))
        #expect(entry.fileName.hasSuffix("-\(entry.hashPrefix).pth"))
        #expect(entry.hashPrefix.count >= 8 && entry.hashPrefix.allSatisfy(\.isHexDigit))
        let model = try ModelRegistry.makeModel(entry.model, imageSize: entry.isForOneSize ? entry.minimumSize : nil)
        if let model = model as? GoogLeNet { (model.aux1, model.aux2) = (nil, nil) }
        #expect(model.parameterCount == entry.parameterCount)
        // The file has little beside the parameters, but for GoogLeNet's auxiliary heads. These two are in float16.
        let isHalf = ["wide_resnet50_2-95faca4d.pth", "wide_resnet101_2-32ee1156.pth"].contains(entry.fileName)
        let megabytes = Double(entry.parameterCount) * (isHalf ? 2 : 4) / 1_048_576
        #expect(abs(entry.megabytes / megabytes - 1) < (entry.model == "googlenet" ? 1 : 0.06))
        model.eval()
        let preset = entry.preset
        try model.checkInput(shape: [1, preset.cropSize, preset.cropSize, 3])
        if !entry.isForOneSize, !entry.model.hasPrefix("swin") {
            // torchvision's smallest size and ours are the same, where torchvision's is one.
            if case .atLeast(let side)? = (model as? any ImageSizeLimiting)?.imageSizeRule {
                #expect(entry.minimumSize == side)
            } else {
                #expect([1, 33].contains(entry.minimumSize))
            }
        }
        #expect(preset.resizeSize >= preset.cropSize && preset.cropSize >= entry.minimumSize)
        #expect(entry.recipe.hasPrefix("https://"))
        #expect((entry.licence != nil) == entry.name.contains("SWAG"))
        #expect(entry.classes == (entry.name == "IMAGENET1K_FEATURES" ? nil : imageNetCategories.count))
        #expect(entry.classes == nil || (entry.top1! > 50 && entry.top5! > entry.top1! && entry.top5! < 100))
    }

    @Test func presetsAreTorchvisions() throws {
        let expected: [(String, String, Int, Int, Interpolation, Double)] = [
            ("resnet50", "IMAGENET1K_V1", 224, 256, .bilinear, 76.13),
            ("resnet50", "IMAGENET1K_V2", 224, 232, .bilinear, 80.858),
            ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1", 518, 518, .bicubic, 88.552),
            ("efficientnet_b7", "DEFAULT", 600, 600, .bicubic, 84.122),
            ("inception_v3", "DEFAULT", 299, 342, .bilinear, 77.294),
            ("mobilenet_v2", "IMAGENET1K_V1", 224, 256, .bilinear, 71.878),
        ]
        for (model, name, crop, resize, interpolation, top1) in expected {
            let entry = try WeightCatalogue.entry(name, of: model)
            let preset = ClassificationPreset(cropSize: crop, resizeSize: resize, interpolation: interpolation)
            // Bicubic in torchvision is Pillow's; vit_h_14's mean and deviation are ImageNet's like all others' here.
            #expect(entry.preset == preset && entry.top1 == top1, "\(entry)")
        }
    }

    @Test func entriesAreFoundByEachOfTheirNames() throws {
        for name in ["DEFAULT", "IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V2", "ResNet50_Weights.DEFAULT"] {
            #expect(try WeightCatalogue.entry(name, of: "resnet50").fullName == "ResNet50_Weights.IMAGENET1K_V2")
            #expect(PretrainedWeights(name) == .entry(name))
        }
        let error = #expect(throws: UnknownWeightsError.self) {
            try WeightCatalogue.entry("IMAGENET1K_V3", of: "resnet50")
        }
        #expect(error?.known == ["IMAGENET1K_V1", "IMAGENET1K_V2"])
        #expect(throws: UnknownWeightsError.self) {
            try WeightCatalogue.entry("ResNet18_Weights.IMAGENET1K_V1", of: "resnet50")
        }
        for file in ["a.pth", "resnet50.safetensors", "./DEFAULT", "weights/V1", "X_Weights.pth", "", "v1"] {
            #expect(PretrainedWeights(file) == .file(file))
        }
    }
}

extension WeightEntry {
    fileprivate var isForOneSize: Bool { model.hasPrefix("vit_") || model == "maxvit_t" }
}
