import Tensors

/// Random changes of brightness, contrast, saturation and hue, in random order: torchvision's `ColorJitter`.
public struct ColorJitter: Hashable, Sendable, Codable {
    /// Factors between 1 minus and 1 plus these, not below 0.
    public var brightness: Float
    public var contrast: Float
    public var saturation: Float
    /// Turns of the colour circle between minus and plus this, up to 0.5.
    public var hue: Float

    public init(brightness: Float = 0, contrast: Float = 0, saturation: Float = 0, hue: Float = 0) {
        precondition(
            brightness >= 0 && contrast >= 0 && saturation >= 0 && (0...0.5).contains(hue),
            "ColorJitter: brightness \(brightness), contrast \(contrast), saturation \(saturation), hue \(hue)")
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
    }

    /// Whether no picture is ever changed.
    public var isIdentity: Bool { brightness == 0 && contrast == 0 && saturation == 0 && hue == 0 }

    /// Changes an image `[H, W, 3]` with values between 0 and 1.
    public func callAsFunction(_ image: Tensor, using source: inout RandomSource) -> Tensor {
        func factor(_ strength: Float) -> Float {
            let low = max(0, 1 - strength)
            return low + Float(source.uniform()) * (1 + strength - low)
        }
        var changes: [(Tensor) -> Tensor] = []
        if brightness > 0 { changes.append { [f = factor(brightness)] in $0.adjustingBrightness(f) } }
        if contrast > 0 { changes.append { [f = factor(contrast)] in $0.adjustingContrast(f) } }
        if saturation > 0 { changes.append { [f = factor(saturation)] in $0.adjustingSaturation(f) } }
        if hue > 0 {
            let turn = (2 * Float(source.uniform()) - 1) * hue
            changes.append { $0.adjustingHue(turn) }
        }
        changes = source.shuffled(changes)
        return changes.reduce(image) { $1($0) }
    }
}

extension Tensor {
    /// `factor` times an image `[H, W, 3]` with values between 0 and 1, cut there, as torchvision's `adjust_brightness`.
    /// No gradient flows through it, nor through the other adjustments.
    public func adjustingBrightness(_ factor: Float) -> Tensor { mapPixels { $0 * factor } }

    /// Each pixel's distance from the mean gray times `factor`, as torchvision's `adjust_contrast`.
    public func adjustingContrast(_ factor: Float) -> Tensor {
        var sum = 0.0
        forEachPixel { sum += Double(Self.gray($0)) }
        let mean = Float(sum / Double(max(1, count / 3))) * (1 - factor)
        return mapPixels { $0 * factor + mean }
    }

    /// Each pixel's distance from its gray times `factor`, as torchvision's `adjust_saturation`.
    public func adjustingSaturation(_ factor: Float) -> Tensor {
        mapPixels { $0 * factor + Self.gray($0) * (1 - factor) }
    }

    /// The hue turned by `turn` of the colour circle, as torchvision's `adjust_hue`.
    public func adjustingHue(_ turn: Float) -> Tensor {
        mapPixels { pixel in
            let high = pixel.max(), spread = high - pixel.min()
            guard spread > 0 else { return pixel }
            let (r, g, b) = (pixel[0], pixel[1], pixel[2])
            let sector = high == r ? (g - b) / spread : high == g ? 2 + (b - r) / spread : 4 + (r - g) / spread
            var hue = sector / 6 + turn
            hue -= hue.rounded(.down)
            // Each channel is `high` minus the spread times a trapezoid of the hue.
            func channel(_ n: Float) -> Float {
                let k = (n + hue * 6).truncatingRemainder(dividingBy: 6)
                return high - spread * max(0, min(k, 4 - k, 1))
            }
            return SIMD3(channel(5), channel(3), channel(1))
        }
    }

    /// ITU-R 601-2's luma, with torchvision's weights.
    private static func gray(_ pixel: SIMD3<Float>) -> Float {
        0.2989 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
    }

    private func forEachPixel(_ body: (SIMD3<Float>) -> Void) {
        precondition(rank == 3 && shape[2] == 3, "expected an image [H, W, 3], got shape \(shape)")
        withUnsafeScalars { source in
            for i in stride(from: 0, to: source.count, by: 3) { body(SIMD3(source[i], source[i + 1], source[i + 2])) }
        }
    }

    private func mapPixels(_ body: (SIMD3<Float>) -> SIMD3<Float>) -> Tensor {
        Tensor(shape: shape) { target in
            var i = 0
            forEachPixel { pixel in
                let changed = body(pixel).clamped(lowerBound: .zero, upperBound: .one)
                for c in 0..<3 { target[i + c] = changed[c] }
                i += 3
            }
        }
    }
}
