/// Why training stopped, or cannot go on.
public enum TrainingError: Error, CustomStringConvertible {
    /// The loss is not a finite number; the step was not taken.
    case lossNotFinite(loss: Float, epoch: Int, step: Int, checkpoint: String?)
    /// A checkpoint of another run: what differs.
    case checkpointMismatch(path: String, reason: String)
    /// A folder that has a run already.
    case folderInUse(String)
    /// The metric that is to decide which weights are best is not among those that validation gives.
    case unknownMetric(String, known: [String])

    public var description: String {
        switch self {
        case .lossNotFinite(let loss, let epoch, let step, let checkpoint):
            "the loss is \(loss) at step \(step) (epoch \(epoch)), which was not taken; "
                + (checkpoint.map { "the last good checkpoint is \($0)" } ?? "there is no checkpoint yet")
                + "; a lower learning rate, a warm-up or gradient clipping may help"
        case .checkpointMismatch(let path, let reason):
            "\(path): this run cannot go on from it: \(reason)"
        case .folderInUse(let path):
            "\(path): holds a run already; resume it, or choose another folder"
        case .unknownMetric(let name, let known):
            "unknown metric \"\(name)\"; there are: \(known.joined(separator: ", "))"
        }
    }
}
