import Foundation

/// The published weights of all architectures, as torchvision lists them.
public enum WeightCatalogue {
    /// All entries: models in alphabetical order, each one's entries in torchvision's.
    public static let entries: [WeightEntry] = {
        let decoder = JSONDecoder()
        return data.split(separator: "\n").map { line in
            do {
                return try decoder.decode(WeightEntry.self, from: Data(line.utf8))
            } catch {
                preconditionFailure("WeightCatalogue: \(error) in \(line)")
            }
        }
    }()

    private static let byModel = Dictionary(grouping: entries, by: \.model)

    /// The entries of an architecture; none for an unknown one.
    public static func entries(of model: String) -> [WeightEntry] { byModel[model] ?? [] }

    /// An architecture's entry by torchvision's name: `DEFAULT`, `IMAGENET1K_V1` or `ResNet50_Weights.IMAGENET1K_V1`.
    ///
    /// - Throws: ``UnknownWeightsError`` with the names that there are.
    public static func entry(_ name: String, of model: String) throws(UnknownWeightsError) -> WeightEntry {
        let entries = entries(of: model)
        let found = entries.first { entry in
            [entry.name, entry.fullName].contains(name)
                || entry.isDefault && ["DEFAULT", entry.className + ".DEFAULT"].contains(name)
        }
        guard let found else {
            throw UnknownWeightsError(name: name, model: model, known: entries.map(\.name))
        }
        return found
    }

    /// Whether a text has the form of an entry's name and not of a file's: capitals, digits and underscores, perhaps
    /// behind a class's name that ends with `_Weights` and a dot.
    public static func isEntryName(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let name = parts.last, let first = name.first, ("A"..."Z").contains(first) else {
            return false
        }
        let isClass = parts.count == 1 || (parts[0].hasSuffix("_Weights") && !parts[0].contains("/"))
        return isClass && name.allSatisfy { ("A"..."Z").contains($0) || ("0"..."9").contains($0) || $0 == "_" }
    }
}

/// A name of weights that the model does not have.
public struct UnknownWeightsError: Error, CustomStringConvertible {
    public let name: String
    public let model: String
    /// The model's entries.
    public let known: [String]

    public var description: String {
        known.isEmpty
            ? "there are no published weights of a model \"\(model)\""
            : "\(model) has no weights \"\(name)\"; there are DEFAULT, \(known.joined(separator: ", ")), "
                + "or name a file (./\(name), if it is one)"
    }
}
