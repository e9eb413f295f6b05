/// How a picture must be turned and mirrored to stand upright, with EXIF's numbers.
public enum Orientation: Int, CaseIterable, Sendable {
    case up = 1
    case mirrored = 2
    /// Turned by 180 degrees.
    case down = 3
    case downMirrored = 4
    /// Rows and columns are exchanged.
    case transposed = 5
    /// The picture must be turned by 90 degrees clockwise.
    case right = 6
    /// Rows and columns are exchanged along the other diagonal.
    case transversed = 7
    /// The picture must be turned by 90 degrees counterclockwise.
    case left = 8

    /// Whether width and height change places.
    var swapsSides: Bool { rawValue >= 5 }
}

extension RGBImage {
    /// The picture turned and mirrored to stand upright.
    public func oriented(by orientation: Orientation) -> RGBImage {
        if orientation == .up { return self }
        let outWidth = orientation.swapsSides ? height : width
        let outHeight = orientation.swapsSides ? width : height
        // The source offset of output pixel (0, 0), and the steps in it for one output column and one output row.
        let row = width * 3
        let (right, bottom) = ((width - 1) * 3, (height - 1) * row)
        let (start, columnStep, rowStep) =
            switch orientation {
            case .up: (0, 3, row)
            case .mirrored: (right, -3, row)
            case .down: (bottom + right, -3, -row)
            case .downMirrored: (bottom, 3, -row)
            case .transposed: (0, row, 3)
            case .right: (bottom, -row, 3)
            case .transversed: (bottom + right, -row, -3)
            case .left: (right, row, -3)
            }
        return withUnsafePixels { source in
            RGBImage(width: outWidth, height: outHeight) { target in
                var out = 0
                for y in 0..<outHeight {
                    var i = start + y * rowStep
                    for _ in 0..<outWidth {
                        for c in 0..<3 { target[out + c] = source[i + c] }
                        out += 3
                        i += columnStep
                    }
                }
            }
        }
    }

    /// The picture mirrored left to right.
    public func flippedHorizontally() -> RGBImage { oriented(by: .mirrored) }
}
