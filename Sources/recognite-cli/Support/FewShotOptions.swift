import ArgumentParser
import Recognite

/// Episodes of few-shot recognition over all pictures of an evaluation.
struct FewShotOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Also recognize in episodes of so many labels each, over all pictures of gallery and queries together.",
            valueName: "n"))
    var fewShotWays: Int?
    @Option(help: ArgumentHelp("References of each label in an episode. Default: 1.", valueName: "k"))
    var fewShotShots: Int?
    @Option(help: ArgumentHelp("Episodes. Default: 1000.", valueName: "n"))
    var fewShotEpisodes: Int?
    @Option(help: ArgumentHelp("Pictures of each label to recognize in an episode. Default: 1.", valueName: "n"))
    var fewShotQueries: Int?
    @Flag(
        help: ArgumentHelp(
            "The labels of an episode have one group, the first part of their path: \"Greek\" of Greek/character01."))
    var groupByFolder = false

    func validate() throws {
        guard let fewShotWays else {
            guard fewShotShots == nil, fewShotEpisodes == nil, fewShotQueries == nil, !groupByFolder else {
                throw ValidationError("few-shot options need --few-shot-ways")
            }
            return
        }
        guard fewShotWays > 1 else { throw ValidationError("--few-shot-ways must be at least 2") }
        for (name, value) in [
            ("shots", fewShotShots), ("episodes", fewShotEpisodes), ("queries", fewShotQueries),
        ] {
            if let value, value <= 0 { throw ValidationError("--few-shot-\(name) must be positive") }
        }
    }

    /// - Parameter seed: of the draws.
    /// - Returns: `nil` if no episodes are wanted.
    func settings(seed: UInt64) -> FewShot? {
        fewShotWays.map {
            FewShot(
                ways: $0, shots: fewShotShots ?? 1, queries: fewShotQueries ?? 1, episodes: fewShotEpisodes ?? 1000,
                seed: seed)
        }
    }

    /// The group of each label, by their numbers, and the groups' names; one group without `--group-by-folder`.
    ///
    /// - Parameters:
    ///   - names: the label of each row.
    ///   - labels: its number.
    func groups(names: [String], labels: [Int]) -> (of: [Int: Int], names: [Int: String])? {
        guard groupByFolder else { return nil }
        func group(_ label: String) -> String { String(label.prefix { $0 != "/" }) }
        let sorted = Set(names.map(group)).sorted()
        let numbers = Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1, $0) })
        var of: [Int: Int] = [:]
        for (name, label) in zip(names, labels) { of[label] = numbers[group(name)]! }
        return (of, Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($0, $1) }))
    }
}
