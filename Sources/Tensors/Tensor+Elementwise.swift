import CKernels

// MARK: - Binary operations with broadcasting

package struct BinaryOperation: Operation {
    package enum Kind: String { case add, subtract, multiply, divide }
    package let kind: Kind

    package var name: String { kind.rawValue }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        guard let shape = Broadcast.shape(inputs[0], inputs[1]) else {
            preconditionFailure("\(name): shapes \(inputs[0]) and \(inputs[1]) do not broadcast")
        }
        return shape
    }

    package var kernel: ck_binary {
        switch kind {
        case .add: CK_ADD
        case .subtract: CK_SUB
        case .multiply: CK_MUL
        case .divide: CK_DIV
        }
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (a, b) = (inputs[0], inputs[1])
        let output = Broadcast.apply(kernel, a, b, shape: outputShape)
        guard needs.contains(true) else { return (output, nil) }
        let kind = kind
        /// `gradient · factor` summed to a shape; the factor may have been broadcast too.
        func product(_ gradient: Tensor, _ factor: Tensor, to shape: [Int]) -> Tensor {
            factor.shape == gradient.shape
                ? gradient.productSummed(factor, to: shape) : (gradient * factor).summed(to: shape)
        }
        return (
            output,
            { gradient in
                var toA: Tensor?
                var toB: Tensor?
                switch kind {
                case .add:
                    if needs[0] { toA = gradient }
                    if needs[1] { toB = gradient }
                case .subtract:
                    if needs[0] { toA = gradient }
                    if needs[1] { toB = -gradient }
                case .multiply:
                    if needs[0] {
                        toA = a.shape == gradient.shape ? gradient * b : product(gradient, b, to: a.shape)
                    }
                    if needs[1] {
                        toB = b.shape == gradient.shape ? gradient * a : product(gradient, a, to: b.shape)
                    }
                case .divide:
                    let quotient = gradient / b
                    if needs[0] { toA = quotient }
                    if needs[1] { toB = -(quotient * (a / b)) }
                }
                return [toA?.summed(to: a.shape), toB?.summed(to: b.shape)]
            }
        )
    }
}

enum Broadcast {
    /// The shape that two shapes broadcast to by NumPy's rules; `nil` if they do not.
    static func shape(_ a: [Int], _ b: [Int]) -> [Int]? {
        if a == b { return a }
        var result: [Int] = []
        for axis in 0..<max(a.count, b.count) {
            let sizeA = axis < a.count ? a[a.count - 1 - axis] : 1
            let sizeB = axis < b.count ? b[b.count - 1 - axis] : 1
            guard sizeA == sizeB || sizeA == 1 || sizeB == 1 else { return nil }
            result.append(sizeA == 1 ? sizeB : sizeA)
        }
        return result.reversed()
    }

    /// One axis of a broadcast operation: its size, and the two operands' strides along it.
    private struct Axis {
        var size: Int
        var a: Int
        var b: Int
    }

    /// The axes of the output, innermost last, with neighbours merged where both operands allow it.
    private static func axes(_ a: [Int], _ b: [Int], _ output: [Int]) -> [Axis] {
        var merged: [Axis] = []
        var strideA = 1
        var strideB = 1
        for axis in 0..<output.count {
            let size = output[output.count - 1 - axis]
            let sizeA = axis < a.count ? a[a.count - 1 - axis] : 1
            let sizeB = axis < b.count ? b[b.count - 1 - axis] : 1
            let next = Axis(size: size, a: sizeA == 1 ? 0 : strideA, b: sizeB == 1 ? 0 : strideB)
            strideA *= sizeA
            strideB *= sizeB
            if size == 1 { continue }
            if let last = merged.last, next.a == last.a * last.size, next.b == last.b * last.size {
                merged[merged.count - 1].size *= size
            } else {
                merged.append(next)
            }
        }
        return merged.reversed()
    }

    static func apply(_ operation: ck_binary, _ a: Tensor, _ b: Tensor, shape: [Int]) -> Tensor {
        let output = Tensor(uninitialized: shape)
        let axes = axes(a.shape, b.shape, shape)
        // A long run without rows is cut into rows, so that it can be shared among threads.
        let inner = axes.last ?? Axis(size: 1, a: 0, b: 0)
        if axes.count <= 1 {
            parallelFor(output.count, grain: elementwiseGrain) { begin, end in
                var part = ck_binary_shape(
                    rows: 1, cols: Int64(end - begin), a_row: 0, a_col: Int64(inner.a), b_row: 0,
                    b_col: Int64(inner.b))
                ck_binary_f32(
                    operation, &part, a.pointer + begin * inner.a, b.pointer + begin * inner.b,
                    output.mutablePointer + begin)
            }
            return output
        }
        let row = axes[axes.count - 2]
        let outer = axes.dropLast(2)
        let blocks = outer.reduce(1) { $0 * $1.size }
        // Units of work are single rows of every block.
        parallelFor(blocks * row.size, grain: rowGrain(inner.size)) { begin, end in
            var unit = begin
            while unit < end {
                let block = unit / row.size, first = unit % row.size
                let rows = min(end - unit, row.size - first)
                var (offsetA, offsetB, rest) = (first * row.a, first * row.b, block)
                for axis in outer.reversed() {
                    offsetA += rest % axis.size * axis.a
                    offsetB += rest % axis.size * axis.b
                    rest /= axis.size
                }
                var part = ck_binary_shape(
                    rows: Int64(rows), cols: Int64(inner.size), a_row: Int64(row.a), a_col: Int64(inner.a),
                    b_row: Int64(row.b), b_col: Int64(inner.b))
                ck_binary_f32(
                    operation, &part, a.pointer + offsetA, b.pointer + offsetB,
                    output.mutablePointer + unit * inner.size)
                unit += rows
            }
        }
        return output
    }
}

extension Tensor {
    /// Elementwise operations; shapes broadcast as in NumPy and PyTorch.
    public static func + (a: Tensor, b: Tensor) -> Tensor { apply(BinaryOperation(kind: .add), a, b) }
    public static func - (a: Tensor, b: Tensor) -> Tensor { apply(BinaryOperation(kind: .subtract), a, b) }
    public static func * (a: Tensor, b: Tensor) -> Tensor { apply(BinaryOperation(kind: .multiply), a, b) }
    public static func / (a: Tensor, b: Tensor) -> Tensor { apply(BinaryOperation(kind: .divide), a, b) }

    public static func + (a: Tensor, b: Float) -> Tensor { apply(AffineOperation(scale: 1, shift: b), a) }
    public static func - (a: Tensor, b: Float) -> Tensor { apply(AffineOperation(scale: 1, shift: -b), a) }
    public static func * (a: Tensor, b: Float) -> Tensor { apply(AffineOperation(scale: b, shift: 0), a) }
    public static func / (a: Tensor, b: Float) -> Tensor { a / Tensor(b) }
    public static func * (a: Float, b: Tensor) -> Tensor { b * a }
    public static func + (a: Float, b: Tensor) -> Tensor { b + a }
    public static func - (a: Float, b: Tensor) -> Tensor { apply(AffineOperation(scale: -1, shift: a), b) }
    public static prefix func - (a: Tensor) -> Tensor { apply(AffineOperation(scale: -1, shift: 0), a) }
}

/// `scale x + shift`.
package struct AffineOperation: Operation {
    package let scale: Float
    package let shift: Float

    package var name: String { "affine" }
    package func outputShape(_ inputs: [[Int]]) -> [Int] { inputs[0] }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, scale, shift) = (inputs[0], scale, shift)
        let output = x.mapped { ck_affine_f32(scale, shift, $0, $1, $2) }
        return (output, { [scale == 1 ? $0 : $0 * scale] })
    }
}

// MARK: - Unary operations

package struct UnaryOperation: Operation {
    package enum Kind: String { case exp, log, sqrt, square, reciprocal }
    package let kind: Kind

    package var name: String { kind.rawValue }
    package func outputShape(_ inputs: [[Int]]) -> [Int] { inputs[0] }

    private var kernel: ck_unary {
        switch kind {
        case .exp: CK_EXP
        case .log: CK_LOG
        case .sqrt: CK_SQRT
        case .square: CK_SQUARE
        case .reciprocal: CK_RECIPROCAL
        }
    }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, kernel, kind) = (inputs[0], kernel, kind)
        let y = x.mapped { ck_unary_f32(kernel, $0, $1, $2) }
        return (
            y,
            { gradient in
                switch kind {
                case .exp: [gradient * y]
                case .log: [gradient / x]
                case .sqrt: [gradient / (y * 2)]
                case .square: [gradient * (x * 2)]
                case .reciprocal: [-(gradient * (y * y))]
                }
            }
        )
    }
}

extension Tensor {
    public func exp() -> Tensor { apply(UnaryOperation(kind: .exp), self) }
    public func log() -> Tensor { apply(UnaryOperation(kind: .log), self) }
    public func squareRoot() -> Tensor { apply(UnaryOperation(kind: .sqrt), self) }
    public func squared() -> Tensor { apply(UnaryOperation(kind: .square), self) }
    public func reciprocal() -> Tensor { apply(UnaryOperation(kind: .reciprocal), self) }

    /// A tensor that `kernel(x, y, n)` computes elementwise, over the engine's threads.
    func mapped(
        _ kernel: (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int64) -> Void
    ) -> Tensor {
        let output = Tensor(uninitialized: shape)
        parallelFor(count, grain: elementwiseGrain) { begin, end in
            kernel(pointer + begin, output.mutablePointer + begin, Int64(end - begin))
        }
        return output
    }
}

// MARK: - Activations

/// The activation functions of the model zoo, under PyTorch's names.
public enum Activation: String, Sendable, CaseIterable {
    case relu, relu6, hardswish, hardsigmoid, silu
    /// The exact form, with the error function.
    case gelu
    case sigmoid, tanh

    package var kernel: ck_activation {
        switch self {
        case .relu: CK_RELU
        case .relu6: CK_RELU6
        case .hardswish: CK_HARDSWISH
        case .hardsigmoid: CK_HARDSIGMOID
        case .silu: CK_SILU
        case .gelu: CK_GELU
        case .sigmoid: CK_SIGMOID
        case .tanh: CK_TANH
        }
    }
}

package struct ActivationOperation: Operation {
    package let activation: Activation

    package var name: String { activation.rawValue }
    package func outputShape(_ inputs: [[Int]]) -> [Int] { inputs[0] }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, kernel) = (inputs[0], activation.kernel)
        let output = x.mapped { ck_activation_forward_f32(kernel, $0, $1, $2) }
        guard needs[0] else { return (output, nil) }
        // The derivative of these two can be read off the output, which the next operation keeps anyway.
        let kept = activation == .relu || activation == .relu6 ? output : x
        return (
            output,
            { gradient in
                let result = Tensor(uninitialized: kept.shape)
                parallelFor(kept.count, grain: elementwiseGrain) { begin, end in
                    ck_activation_backward_f32(
                        kernel, kept.pointer + begin, gradient.pointer + begin, result.mutablePointer + begin,
                        Int64(end - begin))
                }
                return [result]
            }
        )
    }
}

extension Activation {
    /// Whether computing it, or its derivative, once more takes less time than keeping its input.
    var isCheapTwice: Bool { [.relu, .relu6, .hardswish, .silu].contains(self) }
}

extension Tensor {
    /// The activation of each element.
    public func activated(_ activation: Activation) -> Tensor {
        // Behind a batch norm in training, the two take one way back.
        if GradientMode.isEnabled, let node, let through = node.backwardThrough, activation.isCheapTwice {
            var output = mapped { ck_activation_forward_f32(activation.kernel, $0, $1, $2) }
            output.node = GradientNode(inputs: node.inputs) { through(activation, $0) }
            return output
        }
        return apply(ActivationOperation(activation: activation), self)
    }
}
