import Foundation
import Imaging
import Tensors
import Testing

/// Random changes of pictures: the changes against torchvision's functions, what is drawn by its properties.
@Suite struct AugmentationTests {
    /// What `Tools/make_augmentation_fixtures.py` writes.
    struct Expected: Decodable {
        struct Probe: Decodable {
            let index: [Int]
            let value: [Float]
        }

        struct Affine: Decodable {
            let degrees: Double
            let translation: [Double]
            let scale: Double
            let shear: [Double]
            let index: [Int]
            let value: [Float]
        }

        struct Color: Decodable {
            let name: String
            let factor: Float
            let index: [Int]
            let value: [Float]
        }

        let pixels: Probe
        let affine: [Affine]
        let color: [Color]
    }

    private func expected() throws -> Expected {
        try JSONDecoder().decode(Expected.self, from: Data(contentsOf: Fixtures.url("augmentation.json")))
    }

    /// The picture of `Tools/make_augmentation_fixtures.py`.
    private let picture: RGBImage = {
        let (height, width) = (25, 32)
        var bytes: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width {
                for c in 0..<3 {
                    let ramps = abs((11 * x + 60 * c) % 240 - 120) + abs((13 * y + 37 * c) % 200 - 100)
                    var value = ramps + x * y * (c + 1) % 7
                    if y < 5, x < 6 { value = 10 * y + 8 * x }
                    if y >= 20, x < 4 { value = c == 0 ? 255 : 0 }
                    bytes.append(UInt8(value))
                }
            }
        }
        return RGBImage(width: width, height: height, pixels: bytes)
    }()

    @Test func thePictureIsTheFixtures() throws {
        let pixels = try expected().pixels
        #expect(pixels.index.map { Float(picture.pixels[$0]) } == pixels.value)
    }

    /// Ours rounds to 8 bits.
    @Test func affineMapsEqualTorchvision() throws {
        let cases = try expected().affine
        #expect(cases.count == 8)
        for row in cases {
            let map = AffineMap(
                degrees: row.degrees, translation: (row.translation[0], row.translation[1]), scale: row.scale,
                shear: (row.shear[0], row.shear[1]))
            let moved = map(picture)
            #expect(moved.width == picture.width && moved.height == picture.height)
            let worst = zip(row.index, row.value).map { abs(Float(moved.pixels[$0]) / 255 - $1) }.max()!
            #expect(worst <= 0.6 / 255, "\(row)")
        }
    }

    @Test func affineMapsFillTheOutside() {
        let gray = RGBImage(width: 7, height: 5, filledWith: SIMD3(200, 100, 50))
        let moved = AffineMap(degrees: 0, translation: (3, 2))(gray, fill: 9)
        for y in 0..<5 {
            for x in 0..<7 { #expect(moved[x: x, y: y] == (x < 3 || y < 2 ? SIMD3(9, 9, 9) : SIMD3(200, 100, 50))) }
        }
        // Half a pixel: the first column is half of the fill.
        let half = AffineMap(degrees: 0, translation: (0.5, 0))(gray, fill: 0)
        #expect(half[x: 0, y: 2] == SIMD3(100, 50, 25) && half[x: 1, y: 2] == SIMD3(200, 100, 50))
        #expect(AffineMap(degrees: 0)(picture) == picture)
        // Four quarter turns of a square are none.
        let square = picture.cropped(to: CropBox(top: 0, left: 0, height: 25, width: 25))
        let quarter = AffineMap(degrees: 90)
        #expect(quarter(square) == square.oriented(by: .right))
        #expect((0..<4).reduce(square) { turned, _ in quarter(turned) } == square)
        #expect(
            AffineMap(degrees: 0, translation: (100, 0))(gray, fill: 3)
                == RGBImage(
                    width: 7, height: 5, filledWith: SIMD3(3, 3, 3)))
    }

    /// The maps that are drawn keep to their bounds, and use them.
    @Test func affineJitterDrawsWithinItsBounds() {
        // A dot on black: translations of up to a tenth of 41 and 31 pixels.
        var dot = RGBImage(width: 41, height: 31)
        dot[x: 20, y: 15] = SIMD3(255, 255, 255)
        let jitter = AffineJitter(translation: 0.1)
        var source = RandomSource(seed: 1)
        var (xs, ys): ([Double], [Double]) = ([], [])
        for _ in 0..<200 {
            let moved = jitter.map(height: 31, width: 41, using: &source)(dot)
            var (sum, x, y) = (0.0, 0.0, 0.0)
            for row in 0..<31 {
                for column in 0..<41 {
                    let weight = Double(moved[x: column, y: row][0])
                    (sum, x, y) = (sum + weight, x + weight * Double(column), y + weight * Double(row))
                }
            }
            xs.append(x / sum - 20)
            ys.append(y / sum - 15)
        }
        // Weights are rounded to 1/255.
        #expect(xs.allSatisfy { abs($0) <= 4.15 } && ys.allSatisfy { abs($0) <= 3.15 })
        #expect(xs.max()! > 3.5 && xs.min()! < -3.5 && ys.max()! > 2.5 && ys.min()! < -2.5)
        #expect(AffineJitter().isIdentity && !jitter.isIdentity && !AffineJitter(shear: 1).isIdentity)
    }

    @Test func colorAdjustmentsEqualTorchvision() throws {
        let cases = try expected().color
        #expect(Set(cases.map(\.name)) == ["brightness", "contrast", "saturation", "hue"])
        let image = Tensor(picture)
        for row in cases {
            let changed =
                switch row.name {
                case "brightness": image.adjustingBrightness(row.factor)
                case "contrast": image.adjustingContrast(row.factor)
                case "saturation": image.adjustingSaturation(row.factor)
                default: image.adjustingHue(row.factor)
                }
            #expect(changed.shape == image.shape)
            let scalars = changed.scalars
            let worst = zip(row.index, row.value).map { abs(scalars[$0] - $1) }.max()!
            #expect(worst <= 1e-5, "\(row.name) \(row.factor)")
        }
    }

    /// Each strength alone draws what its adjustment makes of a factor within the bounds.
    @Test func colorJitterDrawsWithinItsBounds() {
        let image = Tensor(repeating: 0.4, shape: [2, 2, 3])
        var source = RandomSource(seed: 2)
        let jitter = ColorJitter(brightness: 0.5)
        let factors = (0..<200).map { _ in jitter(image, using: &source).scalars[0] / 0.4 }
        #expect(factors.allSatisfy { (0.4999...1.5001).contains($0) })
        #expect(factors.min()! < 0.55 && factors.max()! > 1.45)
        // Not below 0, however strong.
        let strong = ColorJitter(brightness: 3)
        let values = (0..<200).map { _ in strong(image, using: &source).scalars[0] }
        #expect(values.allSatisfy { (0...1).contains($0) } && values.contains(1) && values.min()! < 0.1)
        // A uniform gray has no contrast, saturation or hue to change.
        let others = ColorJitter(contrast: 0.9, saturation: 0.9, hue: 0.5)
        #expect(others(image, using: &source).scalars.allSatisfy { abs($0 - 0.4) < 1e-4 })
        #expect(ColorJitter().isIdentity && !others.isIdentity)
    }

    /// The four changes come in any order: with two whose order counts, both results occur.
    @Test func colorJitterShufflesItsChanges() {
        let image = Tensor(picture)
        var orders: Set<Bool> = []
        for seed in 0..<20 {
            // The same draws as the jitter's, in its order of drawing.
            var draws = RandomSource(seed: UInt64(seed))
            let brightness = 0.5 + Float(draws.uniform()), contrast = 0.5 + Float(draws.uniform())
            var source = RandomSource(seed: UInt64(seed))
            let changed = ColorJitter(brightness: 0.5, contrast: 0.5)(image, using: &source).scalars
            let first = image.adjustingBrightness(brightness).adjustingContrast(contrast).scalars
            let second = image.adjustingContrast(contrast).adjustingBrightness(brightness).scalars
            let errors = [first, second].map { zip($0, changed).map { abs($0 - $1) }.max()! }
            #expect(errors.min()! < 1e-5, "seed \(seed)")
            if errors.max()! > 1e-3 { orders.insert(errors[0] < errors[1]) }
        }
        #expect(orders == [true, false])
    }

    @Test func theSameSeedGivesTheSame() {
        func changed(_ seed: UInt64) -> [Float] {
            var source = RandomSource(seed: seed)
            let map = AffineJitter(degrees: 20, translation: 0.1, zoom: 0.2, shear: 10).map(
                height: 25, width: 32, using: &source)
            let color = ColorJitter(brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1)
            let image = color(Tensor(map(picture, fill: 30)), using: &source)
            return RandomErasing(probability: 1)(image, using: &source).scalars
        }
        #expect(changed(1) == changed(1))
        #expect(changed(1) != changed(2))
    }
}
