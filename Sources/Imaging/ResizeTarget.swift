/// The size that a resize aims at, with torchvision's rules.
public enum ResizeTarget: Hashable, Sendable {
    /// Exactly this size; the aspect ratio may change.
    case exact(height: Int, width: Int)
    /// The shorter edge becomes `length` and the longer one `Int(length · long / short)`. If the longer one exceeds
    /// `maximum`, it becomes `maximum` and the shorter one `Int(maximum · length / longer)`.
    ///
    /// - Precondition: `maximum`, if given, is greater than `length`.
    case shorterEdge(Int, maximum: Int? = nil)

    /// The size of the resized picture for a picture of the given size.
    ///
    /// - Precondition: neither side becomes zero.
    public func size(forHeight height: Int, width: Int) -> (height: Int, width: Int) {
        let size = unchecked(height, width)
        precondition(
            size.height > 0 && size.width > 0,
            "resize: \(self) makes \(size.height) x \(size.width) of \(height) x \(width) (height x width)")
        return size
    }

    private func unchecked(_ height: Int, _ width: Int) -> (height: Int, width: Int) {
        switch self {
        case .exact(let height, let width):
            return (height, width)
        case .shorterEdge(let length, let maximum):
            var short = length
            // Python divides the integers as floating point and truncates.
            var long = Int(Double(length * max(height, width)) / Double(min(height, width)))
            if let maximum {
                precondition(maximum > length, "resize: maximum \(maximum) is not greater than the edge \(length)")
                if long > maximum {
                    short = Int(Double(maximum * short) / Double(long))
                    long = maximum
                }
            }
            return width <= height ? (long, short) : (short, long)
        }
    }
}
