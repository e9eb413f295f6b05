import Tensors

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Random rotations, translations, scales and shears of a picture about its middle: torchvision's `RandomAffine`, with
/// bilinear sampling and shears along both axes.
public struct AffineJitter: Hashable, Sendable, Codable {
    /// Rotations between minus and plus so many degrees.
    public var degrees: Double
    /// Translations up to this part of each side.
    public var translation: Double
    /// Scales between 1 minus and 1 plus this.
    public var zoom: Double
    /// Shears along each axis between minus and plus so many degrees.
    public var shear: Double
    /// What is seen outside of the picture, 0 to 255.
    public var fill: UInt8

    public init(
        degrees: Double = 0, translation: Double = 0, zoom: Double = 0, shear: Double = 0, fill: UInt8 = 0
    ) {
        precondition(
            degrees >= 0 && (0...1).contains(translation) && (0..<1).contains(zoom) && (0..<90).contains(shear),
            "AffineJitter: degrees \(degrees), translation \(translation), zoom \(zoom), shear \(shear)")
        self.degrees = degrees
        self.translation = translation
        self.zoom = zoom
        self.shear = shear
        self.fill = fill
    }

    /// Whether no picture is ever changed.
    public var isIdentity: Bool { degrees == 0 && translation == 0 && zoom == 0 && shear == 0 }

    /// A map drawn for a picture of this size.
    public func map(height: Int, width: Int, using source: inout RandomSource) -> AffineMap {
        func draw(_ bound: Double) -> Double { (2 * source.uniform() - 1) * bound }
        return AffineMap(
            degrees: draw(degrees),
            translation: (draw(translation) * Double(width), draw(translation) * Double(height)),
            scale: 1 + draw(zoom), shear: (draw(shear), draw(shear)))
    }
}

/// A rotation, shear, scale and translation of a picture about its middle, in the terms of
/// `torchvision.transforms.functional.affine`.
public struct AffineMap: Sendable {
    /// Where the pixel at (x, y) of the result, from the middle of the picture, comes from:
    /// `a x + b y + c`, `d x + e y + f`.
    private let a, b, c, d, e, f: Double

    /// - Parameters:
    ///   - degrees: clockwise.
    ///   - translation: to the right and down, in pixels.
    ///   - shear: along x and y, in degrees.
    public init(
        degrees: Double, translation: (x: Double, y: Double) = (0, 0), scale: Double = 1,
        shear: (x: Double, y: Double) = (0, 0)
    ) {
        precondition(scale > 0, "AffineMap: a scale of \(scale)")
        let radians = Double.pi / 180
        let (rotation, sx, sy) = (degrees * radians, shear.x * radians, shear.y * radians)
        // The map is translation · rotation and shear · scale; torchvision's `_get_inverse_affine_matrix`.
        let p = cos(rotation - sy) / cos(sy)
        let q = -cos(rotation - sy) * tan(sx) / cos(sy) - sin(rotation)
        let r = sin(rotation - sy) / cos(sy)
        let s = -sin(rotation - sy) * tan(sx) / cos(sy) + cos(rotation)
        (a, b, d, e) = (s / scale, -q / scale, -r / scale, p / scale)
        c = a * -translation.x + b * -translation.y
        f = d * -translation.x + e * -translation.y
    }

    /// The picture's image under the map, of the picture's size: bilinear, with `fill` outside.
    public func callAsFunction(_ image: RGBImage, fill: UInt8 = 0) -> RGBImage {
        let (width, height) = (image.width, image.height)
        let (middleX, middleY) = (0.5 * Double(width - 1), 0.5 * Double(height - 1))
        return RGBImage(width: width, height: height) { target in
            image.withUnsafePixels { pixels in
                let outside = Float(fill)
                var at = 0
                for row in 0..<height {
                    let y = Double(row) - middleY
                    for column in 0..<width {
                        let x = Double(column) - middleX
                        let fromX = a * x + b * y + c + middleX, fromY = d * x + e * y + f + middleY
                        sample(pixels, width, height, fromX, fromY, outside, to: target.baseAddress! + at)
                        at += 3
                    }
                }
            }
        }
    }
}

/// The colour between four pixels, of which those outside of the picture have the colour `outside`.
private func sample(
    _ pixels: UnsafeBufferPointer<UInt8>, _ width: Int, _ height: Int, _ x: Double, _ y: Double, _ outside: Float,
    to target: UnsafeMutablePointer<UInt8>
) {
    let gray = UInt8(outside)
    guard x > -1, y > -1, x < Double(width), y < Double(height) else {
        for channel in 0..<3 { target[channel] = gray }
        return
    }
    let left = Int(x.rounded(.down)), top = Int(y.rounded(.down))
    let (u, v) = (Float(x - Double(left)), Float(y - Double(top)))
    let source = pixels.baseAddress!
    func value(_ column: Int, _ row: Int, _ channel: Int) -> Float {
        guard column >= 0, row >= 0, column < width, row < height else { return outside }
        return Float(source[(row * width + column) * 3 + channel])
    }
    for channel in 0..<3 {
        let upper = value(left, top, channel) * (1 - u) + value(left + 1, top, channel) * u
        let lower = value(left, top + 1, channel) * (1 - u) + value(left + 1, top + 1, channel) * u
        target[channel] = UInt8((upper * (1 - v) + lower * v + 0.5).rounded(.down))
    }
}
