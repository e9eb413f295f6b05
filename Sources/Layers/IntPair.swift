/// A size or a step along the height and the width: `3` stands for both, `IntPair(1, 7)` for each.
public struct IntPair: Sendable, Hashable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    public var height: Int
    public var width: Int

    public init(_ height: Int, _ width: Int) {
        self.height = height
        self.width = width
    }

    public init(_ both: Int) { self.init(both, both) }

    public init(integerLiteral value: Int) { self.init(value) }

    /// As Python prints a tuple.
    public var description: String { "(\(height), \(width))" }

    var tuple: (Int, Int) { (height, width) }
}
