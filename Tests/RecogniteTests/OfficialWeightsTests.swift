import Foundation
import Recognite
import Testing
import TestSupport

/// torchvision's official MobileNetV2 on real photographs, neither of which may be shipped here: runs where the
/// environment variable RECOGNITE_SHARED names the folder that holds them.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["RECOGNITE_SHARED"] != nil))
struct OfficialWeightsTests {
    private let shared = URL(filePath: ProcessInfo.processInfo.environment["RECOGNITE_SHARED"] ?? "")

    private struct Row: Decodable {
        let file: String
        let embedding: Probe
        let top5: [[Name]]

        /// A category or its probability.
        enum Name: Decodable {
            case category(String)
            case probability(Double)

            init(from decoder: any Decoder) throws {
                let value = try decoder.singleValueContainer()
                if let text = try? value.decode(String.self) {
                    self = .category(text)
                } else {
                    self = .probability(try value.decode(Double.self))
                }
            }
        }
    }

    @Test func embeddingsAndPredictionsEqualPyTorchs() throws {
        let file = shared.appending(path: "reference/golden/tasks/mobilenet_v2_imagenet.json")
        let rows = try JSONDecoder().decode([Row].self, from: Data(contentsOf: file))
        let weights = PretrainedWeights.file(
            shared.appending(path: "weights/mobilenet_v2-b0353104.pth").path)
        let recognizer = try Recognizer("mobilenet_v2", weights: weights)
        recognizer.eval()
        let classifier = try loadClassifier("mobilenet_v2", weights: weights)
        let preset = ClassificationPreset.standard(inputSize: 224)
        #expect(rows.count == 19)
        for row in rows {
            let image = try RGBImage(contentsOf: shared.appending(path: "images/\(row.file)").path)
            let (embedding, logits) = GradientMode.disabled {
                (recognizer(preset([image])), classifier(preset([image])))
            }
            #expect(row.embedding.compare(embedding).isClose(), "\(row.file)")
            // Cosine over the compared elements of two unit vectors, by their distance.
            #expect(row.embedding.compare(embedding).relativeError < 1e-3, "\(row.file)")
            let best = logits.scalars.indices.max { logits.scalars[$0] < logits.scalars[$1] }!
            guard case .category(let expected) = row.top5[0][0] else { continue }
            #expect(imageNetCategories[best] == expected, "\(row.file)")
        }
    }

    @Test func aTwoClassCheckpointLoadsIntoARecognizerAndAsAClassifier() throws {
        let weights = PretrainedWeights.file(
            shared.appending(path: "weights/mobilenet_document_vs_image.pth").path)
        #expect(try loadClassifier("mobilenet_v2", weights: weights).ultimateClassifier().outFeatures == 2)
        #expect(try Recognizer("mobilenet_v2", numClasses: 5, weights: weights).embeddingSize == 1280)
    }
}
