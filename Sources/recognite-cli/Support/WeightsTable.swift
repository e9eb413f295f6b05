import Recognite

/// Published weights as a table.
struct WeightsTable {
    private let entries: [WeightEntry]
    private let store: WeightStore

    init(_ entries: [WeightEntry], store: WeightStore) {
        self.entries = entries
        self.store = store
    }

    private struct Row: Encodable {
        struct Preset: Encodable {
            let crop: Int
            let resize: Int
            let interpolation: String
            let mean: [Float]
            let std: [Float]
        }
        let model: String
        let name: String
        let fullName: String
        let isDefault: Bool
        let url: String
        let hashPrefix: String
        let path: String
        let isDownloaded: Bool
        let parameters: Int
        let minimumSize: Int
        let preset: Preset
        let top1: Double?
        let top5: Double?
        let megabytes: Double
        let recipe: String
        let licence: String?

        private enum CodingKeys: String, CodingKey {
            case model, name, url, path, parameters, preset, top1, top5, megabytes, recipe, licence
            case fullName = "full_name"
            case isDefault = "default"
            case hashPrefix = "hash_prefix"
            case isDownloaded = "downloaded"
            case minimumSize = "min_size"
        }

        init(_ entry: WeightEntry, store: WeightStore) {
            (model, name, fullName, isDefault) = (entry.model, entry.name, entry.fullName, entry.isDefault)
            (url, hashPrefix) = (entry.url, entry.hashPrefix)
            (path, isDownloaded) = (store.path(of: entry), store.contains(entry))
            (parameters, minimumSize) = (entry.parameterCount, entry.minimumSize)
            let (mean, std) = (entry.preset.normalization.mean, entry.preset.normalization.std)
            preset = Preset(
                crop: entry.preset.cropSize, resize: entry.preset.resizeSize,
                interpolation: entry.preset.interpolation.rawValue, mean: [mean.x, mean.y, mean.z],
                std: [std.x, std.y, std.z])
            (top1, top5, megabytes) = (entry.top1, entry.top5, entry.megabytes)
            (recipe, licence) = (entry.recipe, entry.licence)
        }
    }

    func print(json: Bool) throws {
        if json {
            try Swift.print(JSONText.encode(entries.map { Row($0, store: store) }))
            return
        }
        let table = TextTable(
            header: ["model", "weights", "top-1", "top-5", "parameters", "MB", "preset", "", ""],
            rows: entries.map { entry in
                let preset = entry.preset
                return [
                    entry.model, entry.name, entry.top1.map { "\($0)" } ?? "–", entry.top5.map { "\($0)" } ?? "–",
                    "\(entry.parameterCount)", "\(Int(entry.megabytes.rounded()))",
                    "\(preset.resizeSize)/\(preset.cropSize):\(preset.interpolation.rawValue)",
                    entry.isDefault ? "default" : "", store.contains(entry) ? "downloaded" : "",
                ]
            }, leftColumns: [0, 1, 6, 7, 8])
        Swift.print(table.text)
        let licensed = Set(entries.compactMap(\.licence)).sorted()
        for licence in licensed {
            let names = entries.filter { $0.licence == licence }.map(\.fullName)
            Swift.print("\nUnder a licence of their own, \(licence):\n  " + names.joined(separator: "\n  "))
        }
    }
}
