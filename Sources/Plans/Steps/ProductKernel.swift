import CKernels
import Tensors

/// What only some kernels read or write.
struct ProductExtras {
    var packed: ck_packed_extras
    /// To which the sums over the pixels of a part are added.
    var sums: UnsafeMutablePointer<Float>?
}

/// A kernel that computes products: prepared for a shape and a number of threads.
protocol ProductKernel: Sendable {
    /// The name, as a key of packed weights.
    static var name: String { get }
    /// The name for descriptions, which says how the prepared kernel computes.
    var algorithm: String { get }

    init()
    var shape: ck_conv2d_shape { get set }
    var strides: ck_strides { get set }
    var epilogue: ck_epilogue { get set }

    /// The kernel, yet to be prepared, for weights that are packed for another one of the same product.
    func sharingWeights(with other: Self) -> Self

    /// The kernel for a group of images, of which each value's rows follow each other at these distances, yet to be prepared;
    /// `nil` where image by image is better, or the only way.
    func onGroup(of images: Int, _ strides: ck_strides, threads: Int) -> Self?

    /// Chooses how the work is divided.
    mutating func prepare(threads: Int)

    var units: Int64 { get }
    var scratch: Int64 { get }
    /// What the layout of the packed weights depends on beside the product.
    var layout: [Int] { get }
    /// The number of floats of the packed weights, and how to make them.
    func weightCount() -> Int
    func pack(_ weight: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>)

    func run(
        _ operands: ck_operands, _ extras: ProductExtras, _ begin: Int64, _ end: Int64,
        _ scratch: UnsafeMutablePointer<Float>)
}

extension ProductKernel {
    init(_ shape: ck_conv2d_shape, _ strides: ck_strides, _ epilogue: ck_epilogue) {
        self.init()
        (self.shape, self.strides, self.epilogue) = (shape, strides, epilogue)
    }

    /// The kernel, yet to be prepared, for so many images whose values' rows follow each other at these distances.
    fileprivate func forImages(_ images: Int, _ strides: ck_strides) -> Self {
        var conv = self
        (conv.shape.n, conv.strides) = (Int64(images), strides)
        return conv
    }

    var algorithm: String { Self.name }

    func sharingWeights(with other: Self) -> Self { self }

    func onGroup(of images: Int, _ strides: ck_strides, threads: Int) -> Self? { nil }

    func prepared(threads: Int) -> Self {
        var kernel = self
        kernel.prepare(threads: threads)
        return kernel
    }
}

/// A kernel whose packed weights tell what they were made of.
protocol UnpackableKernel: ProductKernel {
    /// Whether they tell it to the bit, whatever it was, and not only as exactly as rounding left it.
    var unpacksExactly: Bool { get }
    /// Bits for each weight that express most of what they do not tell: 2 or 8.
    static var lossBits: Int32 { get }
    /// Whether this one's do: those of some shapes do not.
    var unpacks: Bool { get }
    /// The number of panels of weights.
    var panels: Int64 { get }
    /// Writes the weights of panels `begin ..< end` in their own layout.
    func unpack(_ packed: UnsafePointer<Float>, _ begin: Int64, _ end: Int64, _ weight: UnsafeMutablePointer<Float>)
}

extension UnpackableKernel {
    var unpacks: Bool { true }

    /// Weights in the layout of `other`, a kernel of the same product, from those of this one.
    func repack(_ packed: PackedWeights, for other: some ProductKernel) -> PackedWeights {
        let weights = TensorStorage(onceFor: Int(shape.o * shape.kh * shape.kw * (shape.c / shape.groups)))
        parallelFor(Int(panels), grain: 1) { unpack(packed.pointer, Int64($0), Int64($1), weights.pointer) }
        let block = WeightMemory.Block(storage: TensorStorage(count: other.weightCount()), offset: 0)
        return PackedWeights(block) { other.pack(weights.pointer, $0) }
    }
}

extension ck_packed_conv: UnpackableKernel {
    static var name: String { "packed" }
    var algorithm: String { amx ? "amx" : paired ? "paired" : strassen ? "strassen" : Self.name }

    func sharingWeights(with other: ck_packed_conv) -> ck_packed_conv {
        var conv = self
        conv.weight_layout = other.amx ? CK_WEIGHTS_AMX : other.paired ? CK_WEIGHTS_PAIRED : CK_WEIGHTS_VECTORS
        return conv
    }

    func onGroup(of images: Int, _ strides: ck_strides, threads: Int) -> Self? {
        var conv = forImages(images, strides)
        conv.weight_layout = CK_WEIGHTS_ANY
        // Strassen's products mix only rows of the same image, which is not possible for every number of them.
        return strassen && !conv.prepared(threads: threads).strassen ? nil : conv
    }

    mutating func prepare(threads: Int) { ck_packed_conv_prepare(&self, Int64(threads)) }

    var layout: [Int] { [Int(level.rawValue), amx ? 1 : paired_pixels ? 3 : paired ? 2 : 0] }
    func weightCount() -> Int { withUnsafePointer(to: self) { Int(ck_packed_conv_weights($0)) } }

    func pack(_ weight: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>) {
        withUnsafePointer(to: self) { conv in
            parallelFor(Int(panels), grain: 1) {
                ck_packed_conv_pack_panels(conv, weight, packed, Int64($0), Int64($1))
            }
        }
    }

    // The parts that AMX multiplies lose the end of numbers near 0.
    var unpacksExactly: Bool { !amx }
    static var lossBits: Int32 { 2 }

    func unpack(_ packed: UnsafePointer<Float>, _ begin: Int64, _ end: Int64, _ weight: UnsafeMutablePointer<Float>) {
        withUnsafePointer(to: self) { ck_packed_conv_unpack_panels($0, packed, weight, begin, end) }
    }

    func run(
        _ operands: ck_operands, _ extras: ProductExtras, _ begin: Int64, _ end: Int64,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        withUnsafePointer(to: self) { conv in
            withUnsafePointer(to: operands) { operands in
                withUnsafePointer(to: extras.packed) { ck_packed_conv_run(conv, operands, $0, begin, end, scratch) }
            }
        }
    }
}

extension ck_winograd_conv: UnpackableKernel {
    static var name: String { "winograd" }

    func onGroup(of images: Int, _ strides: ck_strides, threads: Int) -> Self? { forImages(images, strides) }

    mutating func prepare(threads: Int) { ck_winograd_prepare(&self, Int64(threads)) }

    var layout: [Int] { [Int(level.rawValue), Int(m), paired ? 1 : 0] }
    func weightCount() -> Int { withUnsafePointer(to: self) { Int(ck_winograd_weights($0)) } }

    func pack(_ weight: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>) {
        withUnsafePointer(to: self) { conv in
            parallelFor(Int(panels), grain: 1) { ck_winograd_pack(conv, weight, Int64($0), Int64($1), packed) }
        }
    }

    var unpacksExactly: Bool { false }
    static var lossBits: Int32 { 8 }
    // Seven weights from ten points would lose more than is kept.
    var unpacks: Bool { shape.kh == shape.kw }

    func unpack(_ packed: UnsafePointer<Float>, _ begin: Int64, _ end: Int64, _ weight: UnsafeMutablePointer<Float>) {
        withUnsafePointer(to: self) { ck_winograd_unpack($0, packed, begin, end, weight) }
    }

    func run(
        _ operands: ck_operands, _ extras: ProductExtras, _ begin: Int64, _ end: Int64,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        withUnsafePointer(to: self) { conv in
            withUnsafePointer(to: operands) { ck_winograd_run(conv, $0, begin, end, scratch) }
        }
    }
}

extension ck_depthwise_conv: ProductKernel {
    static var name: String { "depthwise" }

    mutating func prepare(threads: Int) { ck_depthwise_prepare(&self, Int64(threads)) }

    var layout: [Int] { [Int(level.rawValue)] }
    func weightCount() -> Int { withUnsafePointer(to: self) { Int(ck_depthwise_weights($0)) } }

    func pack(_ weight: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>) {
        withUnsafePointer(to: self) { ck_depthwise_pack($0, weight, packed) }
    }

    func run(
        _ operands: ck_operands, _ extras: ProductExtras, _ begin: Int64, _ end: Int64,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        withUnsafePointer(to: self) { conv in
            withUnsafePointer(to: operands) { ck_depthwise_run(conv, $0, extras.sums, begin, end, scratch) }
        }
    }
}

extension ck_grouped_conv: ProductKernel {
    static var name: String { "grouped" }

    func onGroup(of images: Int, _ strides: ck_strides, threads: Int) -> Self? { forImages(images, strides) }

    mutating func prepare(threads: Int) { ck_grouped_prepare(&self, Int64(threads)) }

    var layout: [Int] { [Int(level.rawValue)] }
    func weightCount() -> Int { withUnsafePointer(to: self) { Int(ck_grouped_weights($0)) } }

    func pack(_ weight: UnsafePointer<Float>, _ packed: UnsafeMutablePointer<Float>) {
        withUnsafePointer(to: self) { ck_grouped_pack($0, weight, packed) }
    }

    func run(
        _ operands: ck_operands, _ extras: ProductExtras, _ begin: Int64, _ end: Int64,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        withUnsafePointer(to: self) { conv in
            withUnsafePointer(to: operands) { ck_grouped_run(conv, $0, begin, end, scratch) }
        }
    }
}
