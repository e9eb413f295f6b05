import Imaging
import Tensors
import Testing

/// Random crops and erased rectangles: bounds, areas, shapes, and what happens where none fits.
@Suite struct RandomCropTests {
    private func isInside(_ box: CropBox, _ height: Int, _ width: Int) -> Bool {
        box.top >= 0 && box.left >= 0 && box.top + box.height <= height && box.left + box.width <= width
    }

    /// Whether rounded sides can be those of a rectangle with this area, and a first side over the second one.
    private func fits(
        _ first: Int, _ second: Int, area: ClosedRange<Double>, ratio: ClosedRange<Double>
    ) -> Bool {
        let (a, b) = (Double(first), Double(second))
        return (a + 0.5) * (b + 0.5) >= area.lowerBound && (a - 0.5) * (b - 0.5) <= area.upperBound
            && (a + 0.5) / (b - 0.5) >= ratio.lowerBound && (a - 0.5) / (b + 0.5) <= ratio.upperBound
    }

    @Test func boxesOfOneSizeAreEverywhere() {
        var source = RandomSource(seed: 1)
        var corners: Set<[Int]> = []
        for _ in 0..<400 {
            let box = CropBox(randomIn: (7, 9), height: 5, width: 6, using: &source)
            #expect(box.height == 5 && box.width == 6 && isInside(box, 7, 9))
            corners.insert([box.top, box.left])
        }
        // 3 rows and 4 columns are possible.
        #expect(corners.count == 12)
        #expect(
            CropBox(randomIn: (5, 6), height: 5, width: 6, using: &source)
                == CropBox(top: 0, left: 0, height: 5, width: 6))
    }

    @Test func boxesOfRandomAreaKeepToTheBounds() {
        var source = RandomSource(seed: 2)
        let (height, width) = (60, 90)
        var areas: [Double] = [], shapes: [Double] = []
        for _ in 0..<500 {
            let box = CropBox(randomIn: (height, width), scale: 0.2...0.5, ratio: 0.75...(4 / 3), using: &source)
            #expect(isInside(box, height, width))
            #expect(fits(box.width, box.height, area: 0.2 * 5400...0.5 * 5400, ratio: 0.75...(4 / 3)), "\(box)")
            areas.append(Double(box.height * box.width) / 5400)
            shapes.append(Double(box.width) / Double(box.height))
        }
        // All of the ranges is used: areas evenly, shapes evenly in their logarithm.
        #expect(areas.min()! < 0.22 && areas.max()! > 0.48)
        #expect(abs(areas.reduce(0, +) / 500 - 0.35) < 0.02)
        #expect(shapes.min()! < 0.8 && shapes.max()! > 1.28)
        #expect((200...300).contains(shapes.count { $0 > 1 }))
    }

    /// Width over height, not the other way round.
    @Test func ratioIsWidthOverHeight() {
        var source = RandomSource(seed: 3)
        for _ in 0..<50 {
            let box = CropBox(randomIn: (100, 100), scale: 0.1...0.2, ratio: 2...3, using: &source)
            #expect(fits(box.width, box.height, area: 1000...2000, ratio: 2...3))
            #expect(box.width > box.height)
        }
    }

    /// Where no box fits, the largest one in the middle within the bounds of shape.
    @Test func fallbackBoxes() {
        var source = RandomSource(seed: 4)
        func box(_ height: Int, _ width: Int, scale: ClosedRange<Double> = 1...1) -> CropBox {
            CropBox(randomIn: (height, width), scale: scale, ratio: 0.75...(4 / 3), using: &source)
        }
        // 10 · 4/3 = 13.3 of 100 columns.
        #expect(box(10, 100) == CropBox(top: 0, left: 43, height: 10, width: 13))
        // 10 / 0.75 = 13.3 of 100 rows.
        #expect(box(100, 10) == CropBox(top: 43, left: 0, height: 13, width: 10))
        // Too large an area for any box, though the picture's shape is allowed.
        #expect(box(10, 12, scale: 2...3) == CropBox(top: 0, left: 0, height: 10, width: 12))
        #expect(box(1, 1) == CropBox(top: 0, left: 0, height: 1, width: 1))
        // Half of a row of pixels: the sides of small boxes round to nothing.
        #expect(isInside(box(1, 50, scale: 0.01...0.5), 1, 50))
    }

    /// The rectangle of zeros in an image of ones, as (top, left, height, width); `nil` if there are no zeros.
    private func rectangle(_ image: Tensor) -> CropBox? {
        let (height, width, channels) = (image.shape[0], image.shape[1], image.shape[2])
        let scalars = image.scalars
        let zeros = scalars.indices.filter { scalars[$0] == 0 }
        guard let first = zeros.first, let last = zeros.last else { return nil }
        let (top, bottom) = (first / (width * channels), last / (width * channels))
        let (left, right) = (first / channels % width, last / channels % width)
        let box = CropBox(top: top, left: left, height: bottom - top + 1, width: right - left + 1)
        // All of it and nothing else.
        #expect(zeros.count == box.height * box.width * channels)
        #expect(isInside(box, height, width))
        return box
    }

    @Test func erasedRectanglesKeepToTheBounds() throws {
        var source = RandomSource(seed: 5)
        let ones = Tensor(repeating: 1, shape: [40, 50, 3])
        let erasing = RandomErasing(probability: 1)
        var tops: Set<Int> = [], areas: [Int] = []
        for _ in 0..<200 {
            let changed = erasing(ones, using: &source)
            #expect(changed.shape == [40, 50, 3])
            let box = try #require(rectangle(changed))
            #expect(fits(box.height, box.width, area: 0.02 * 2000...0.33 * 2000, ratio: 0.3...3.3), "\(box)")
            #expect(box.height < 40 && box.width < 50)
            tops.insert(box.top)
            areas.append(box.height * box.width)
        }
        #expect(tops.count > 15)
        #expect(areas.min()! < 80 && areas.max()! > 560)
        #expect(ones.scalars.allSatisfy { $0 == 1 })
        // Height over width.
        let tall = RandomErasing(probability: 1, scale: 0.05...0.1, ratio: 2...3)
        for _ in 0..<20 {
            let box = try #require(rectangle(tall(ones, using: &source)))
            #expect(box.height > box.width)
        }
        // Any number of channels.
        #expect(rectangle(erasing(Tensor(repeating: 1, shape: [30, 20, 1]), using: &source)) != nil)
    }

    @Test func erasingHasItsProbability() {
        let ones = Tensor(repeating: 1, shape: [16, 16, 3])
        func part(_ probability: Double) -> Double {
            var source = RandomSource(seed: 6)
            let erasing = RandomErasing(probability: probability)
            return Double((0..<400).count { _ in rectangle(erasing(ones, using: &source)) != nil }) / 400
        }
        #expect(part(0) == 0)
        #expect(part(1) == 1)
        // Five standard deviations.
        #expect(abs(part(0.25) - 0.25) < 0.11)
    }

    /// Rectangles as large as the image are not erased: it stays as it is.
    @Test func imagesWithoutRoomStay() {
        var source = RandomSource(seed: 7)
        let ones = Tensor(repeating: 1, shape: [12, 12, 3])
        let erasing = RandomErasing(probability: 1, scale: 1...1, ratio: 1...1)
        for _ in 0..<20 { #expect(rectangle(erasing(ones, using: &source)) == nil) }
    }
}
