/// float16 and bfloat16 by their bits: Swift has no `Float16` on every platform, and no bfloat16.
enum HalfFloats {
    static func float(bfloat bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

    static func float(half bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) << 16
        let magnitude = UInt32(bits & 0x7fff) << 13
        // Multiplying by 2^112 moves the exponent's bias from 15 to 127 and makes subnormal numbers normal.
        let scaled = (Float(bitPattern: magnitude) * 0x1p112).bitPattern
        let special = magnitude | 0x7f80_0000
        return Float(bitPattern: sign | (magnitude >= 0x0f80_0000 ? special : scaled))
    }

    /// Rounds to nearest, ties to even.
    static func bfloat(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        guard !value.isNaN else { return UInt16(bits >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
    }

    /// Rounds to nearest, ties to even; what is too large becomes infinite.
    static func half(_ value: Float) -> UInt16 {
        let sign = UInt16(truncatingIfNeeded: value.bitPattern >> 16) & 0x8000
        let magnitude = value.bitPattern & 0x7fff_ffff
        if magnitude >= 0x4780_0000 { return sign | (value.isNaN ? 0x7e00 : 0x7c00) }
        if magnitude < 0x3880_0000 {
            // Adding 0.5, whose last bit is 2^-24 as a subnormal half's is, leaves the rounded bits at the end.
            let shifted = (Float(bitPattern: magnitude) + 0.5).bitPattern - 0x3f00_0000
            return sign | UInt16(truncatingIfNeeded: shifted)
        }
        let rounded = magnitude - (112 << 23) + 0xfff + (magnitude >> 13 & 1)
        return sign | UInt16(truncatingIfNeeded: rounded >> 13)
    }
}
