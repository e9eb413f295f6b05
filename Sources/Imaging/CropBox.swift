/// A rectangle of pixels. It may reach beyond the picture; what lies there is zero.
public struct CropBox: Hashable, Sendable {
    public var top: Int
    public var left: Int
    public var height: Int
    public var width: Int

    /// - Precondition: neither side is zero.
    public init(top: Int, left: Int, height: Int, width: Int) {
        precondition(height > 0 && width > 0, "CropBox: a size of \(height) x \(width) (height x width)")
        self.top = top
        self.left = left
        self.height = height
        self.width = width
    }

    /// The box of the given size in the middle of a picture, with torchvision's `center_crop` rounding: half of what is
    /// left over, ties to even; where the picture is smaller, the smaller half of the padding goes first.
    public init(centeredIn picture: (height: Int, width: Int), height: Int, width: Int) {
        func start(_ outer: Int, _ inner: Int) -> Int {
            if outer < inner { return -((inner - outer) / 2) }
            return Int((Double(outer - inner) / 2).rounded(.toNearestOrEven))
        }
        self.init(
            top: start(picture.height, height), left: start(picture.width, width), height: height, width: width)
    }

    var rows: Range<Int> { top..<top + height }
    var columns: Range<Int> { left..<left + width }

    func isInside(height: Int, width: Int) -> Bool {
        top >= 0 && left >= 0 && top + self.height <= height && left + self.width <= width
    }

    /// The part of the box inside a picture of this size, or the pixel nearest to it.
    func clamped(toHeight height: Int, width: Int) -> CropBox {
        func part(_ range: Range<Int>, _ length: Int) -> Range<Int> {
            let start = min(max(range.lowerBound, 0), length - 1)
            return start..<max(start + 1, min(range.upperBound, length))
        }
        let (rows, columns) = (part(rows, height), part(columns, width))
        return CropBox(
            top: rows.lowerBound, left: columns.lowerBound, height: rows.count, width: columns.count)
    }

    /// Copies the box out of `source`, `[height, width, channels]`, and writes `zero` where it reaches beyond.
    func copy<T>(
        from source: UnsafeBufferPointer<T>, height: Int, width: Int, channels: Int, zero: T,
        to target: UnsafeMutableBufferPointer<T>
    ) {
        if !isInside(height: height, width: width) { target.update(repeating: zero) }
        let sourceRows = rows.clamped(to: 0..<height)
        let sourceColumns = columns.clamped(to: 0..<width)
        for y in sourceRows where !sourceColumns.isEmpty {
            let from = (y * width + sourceColumns.lowerBound) * channels
            let to = ((y - top) * self.width + sourceColumns.lowerBound - left) * channels
            let count = sourceColumns.count * channels
            _ = UnsafeMutableBufferPointer(rebasing: target[to..<to + count])
                .update(fromContentsOf: source[from..<from + count])
        }
    }
}
