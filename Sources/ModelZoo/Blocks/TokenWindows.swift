import Tensors

extension RowGather {
    /// The tokens of an image `[H · W]` window by window, `[windows · side²]`: the windows row by row, and the tokens
    /// in them.
    ///
    /// The image is filled up with zeros to whole windows and then shifted cyclically, up and to the left.
    static func windows(height: Int, width: Int, side: Int, shift: (down: Int, right: Int) = (0, 0)) -> RowGather {
        let (rows, columns) = (height.dividedRoundingUp(by: side), width.dividedRoundingUp(by: side))
        var sources: [Int] = []
        sources.reserveCapacity(rows * columns * side * side)
        for top in 0..<rows {
            for left in 0..<columns {
                for i in 0..<side {
                    let y = (top * side + i + shift.down) % (rows * side)
                    for j in 0..<side {
                        let x = (left * side + j + shift.right) % (columns * side)
                        sources.append(y < height && x < width ? y * width + x : blank)
                    }
                }
            }
        }
        return RowGather(sources, of: height * width)
    }

    /// The tokens of an image `[H · W]` in groups of `side²` that lie on a grid over the whole image: a group's tokens
    /// are `H / side` rows and `W / side` columns apart.
    static func grid(height: Int, width: Int, side: Int) -> RowGather {
        let (stepDown, stepRight) = (height / side, width / side)
        var sources: [Int] = []
        sources.reserveCapacity(height * width)
        for group in 0..<stepDown * stepRight {
            let (top, left) = group.quotientAndRemainder(dividingBy: stepRight)
            for row in 0..<side {
                for column in 0..<side {
                    sources.append((row * stepDown + top) * width + column * stepRight + left)
                }
            }
        }
        return RowGather(sources, of: height * width)
    }

    /// The tokens of an image `[H · W]` by squares of two by two, `[⌈H / 2⌉ · ⌈W / 2⌉ · 4]`: the squares row by row,
    /// each one's tokens column by column; zeros beyond an odd edge.
    static func squares(height: Int, width: Int) -> RowGather {
        var sources: [Int] = []
        for top in stride(from: 0, to: height, by: 2) {
            for left in stride(from: 0, to: width, by: 2) {
                for (y, x) in [(top, left), (top + 1, left), (top, left + 1), (top + 1, left + 1)] {
                    sources.append(y < height && x < width ? y * width + x : blank)
                }
            }
        }
        return RowGather(sources, of: height * width)
    }
}

extension Int {
    func dividedRoundingUp(by divisor: Int) -> Int { (self + divisor - 1) / divisor }
}
