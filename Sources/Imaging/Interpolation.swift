/// The kernel of an antialiased resize. When shrinking it is stretched by the ratio of the sizes.
public enum Interpolation: String, CaseIterable, Hashable, Sendable {
    /// The triangle of support 1.
    case bilinear
    /// Keys' cubic of support 2 with a = -0.5, as Pillow and torch's antialiased bicubic use it.
    case bicubic

    /// The distance from the centre at which the kernel vanishes, in input pixels when enlarging.
    var support: Int {
        switch self {
        case .bilinear: 1
        case .bicubic: 2
        }
    }

    /// The kernel's value at `x`, in the order of operations of Pillow's Resample.c.
    func weight<T: BinaryFloatingPoint>(at x: T) -> T {
        let x = abs(x)
        switch self {
        case .bilinear:
            return x < 1 ? 1 - x : 0
        case .bicubic:
            let a: T = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
            return 0
        }
    }
}
