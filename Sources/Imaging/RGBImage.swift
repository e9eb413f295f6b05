/// A picture: 8-bit interleaved RGB, row by row from the top, without padding.
///
/// The channels are what Pillow's `convert("RGB")` gives: alpha has been dropped, not blended, and no colour profile
/// or gamma has been applied.
public struct RGBImage: Hashable, Sendable {
    /// The number of pixels in a row, at least 1.
    public let width: Int
    /// The number of rows, at least 1.
    public let height: Int
    /// The channels, `[height, width, 3]` in row-major order.
    public private(set) var pixels: [UInt8]

    /// A picture of the given channels.
    ///
    /// - Precondition: `pixels.count` is `height · width · 3`, and neither side is zero.
    public init(width: Int, height: Int, pixels: [UInt8]) {
        precondition(width > 0 && height > 0, "RGBImage: a size of \(width) x \(height)")
        precondition(
            pixels.count == width * height * 3,
            "RGBImage: \(pixels.count) bytes do not fill \(width) x \(height) pixels of 3 channels")
        self.width = width
        self.height = height
        self.pixels = pixels
    }

    /// A picture of one colour, black unless told otherwise.
    public init(width: Int, height: Int, filledWith colour: SIMD3<UInt8> = .zero) {
        self.init(width: width, height: height) { bytes in
            for i in bytes.indices { bytes[i] = colour[i % 3] }
        }
    }

    /// A picture that `body` writes: it gets the memory, not initialized, and must set every byte.
    public init<E: Error>(
        width: Int, height: Int, initializingWith body: (UnsafeMutableBufferPointer<UInt8>) throws(E) -> Void
    ) throws(E) {
        precondition(width > 0 && height > 0, "RGBImage: a size of \(width) x \(height)")
        let count = width * height * 3
        var failure: E?
        let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(E) {
                try body(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
                initialized = count
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        self.init(width: width, height: height, pixels: pixels)
    }

    /// The colour of one pixel as (red, green, blue), counted from the top left.
    public subscript(x x: Int, y y: Int) -> SIMD3<UInt8> {
        get {
            let i = offset(x: x, y: y)
            return SIMD3(pixels[i], pixels[i + 1], pixels[i + 2])
        }
        set {
            let i = offset(x: x, y: y)
            for c in 0..<3 { pixels[i + c] = newValue[c] }
        }
    }

    /// Calls `body` with the channels, `[height, width, 3]`.
    public func withUnsafePixels<R, E: Error>(_ body: (UnsafeBufferPointer<UInt8>) throws(E) -> R) throws(E) -> R {
        try pixels.withUnsafeBufferPointer(body)
    }

    /// Calls `body` with the channels, `[height, width, 3]`, to change them in place.
    public mutating func withUnsafeMutablePixels<R, E: Error>(
        _ body: (UnsafeMutableBufferPointer<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        try pixels.withUnsafeMutableBufferPointer { buffer throws(E) in try body(buffer) }
    }

    private func offset(x: Int, y: Int) -> Int {
        precondition(
            0..<width ~= x && 0..<height ~= y, "RGBImage: pixel (\(x), \(y)) of a picture of \(width) x \(height)")
        return (y * width + x) * 3
    }
}

extension RGBImage: CustomStringConvertible {
    public var description: String { "RGBImage(\(width) x \(height))" }
}
