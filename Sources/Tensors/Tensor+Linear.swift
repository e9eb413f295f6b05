import CKernels

/// `y[..., O] = x[..., I] w[O, I]ᵀ + b[O]`.
package struct LinearOperation: Operation {
    package var name: String { "linear" }

    package func outputShape(_ inputs: [[Int]]) -> [Int] {
        let (x, weight) = (inputs[0], inputs[1])
        precondition(
            weight.count == 2 && x.last == weight[1],
            "linear: input \(x) for a weight \(weight): the last axis must have \(weight.last ?? 0) features")
        if inputs.count > 2 {
            precondition(inputs[2] == [weight[0]], "linear: bias \(inputs[2]) for a weight \(weight)")
        }
        return x.dropLast() + [weight[0]]
    }

    package func multiplyAdds(_ inputs: [[Int]], output: [Int]) -> Int { output.reduce(1, *) * inputs[1][1] }

    package func evaluate(_ inputs: [Tensor], outputShape: [Int], needs: [Bool]) -> (Tensor, Backward?) {
        let (x, weight) = (inputs[0], inputs[1])
        let bias = inputs.count > 2 ? inputs[2] : nil
        let (o, i) = (weight.shape[0], weight.shape[1])
        let rows = x.count / max(1, i)
        let output = Tensor(uninitialized: outputShape)
        let shape = Convolution.linearShape(rows: rows, inputs: i, outputs: o)
        let usesKernels = Convolution.suitsKernels(shape)
        if usesKernels {
            Convolution.kernelForward(shape, x.pointer, .plain(weight), bias, into: output.mutablePointer)
        } else {
            parallelGemm(
                m: rows, n: o, k: i, MatrixOperand(x.pointer, stride: i),
                MatrixOperand(weight.pointer, stride: i, transposed: true), output.mutablePointer, stride: o)
            if let bias { output.addRow(bias, rows: rows) }
        }
        guard needs.contains(true) else { return (output, nil) }
        return (
            output,
            { gradient in
                var toX: Tensor?
                var toWeight: Tensor?
                var toBias: Tensor?
                if needs[0] {
                    let result = Tensor(uninitialized: x.shape)
                    if usesKernels {
                        Convolution.kernelForward(
                            shape.adjoint!, gradient.pointer, .view(shape.adjointWeight(weight)), nil,
                            into: result.mutablePointer)
                    } else {
                        parallelGemm(
                            m: rows, n: i, k: o, MatrixOperand(gradient.pointer, stride: o),
                            MatrixOperand(weight.pointer, stride: i), result.mutablePointer, stride: i)
                    }
                    toX = result
                }
                if needs[1], usesKernels {
                    toWeight = Convolution.kernelWeightGradient(shape, x, gradient, weightShape: weight.shape)
                } else if needs[1] {
                    let result = Tensor(uninitialized: weight.shape)
                    parallelGemm(
                        m: o, n: i, k: rows, MatrixOperand(gradient.pointer, stride: o, transposed: true),
                        MatrixOperand(x.pointer, stride: i), result.mutablePointer, stride: i)
                    toWeight = result
                }
                if needs.count > 2, needs[2] { toBias = gradient.reshaped([rows, o]).summed(to: [o]) }
                return [toX, toWeight, toBias]
            }
        )
    }
}

extension Tensor {
    /// `x wᵀ + b`: `[..., I]` with a weight `[O, I]` and a bias `[O]` to `[..., O]`.
    public func linear(_ weight: Tensor, bias: Tensor? = nil) -> Tensor {
        if let bias { return apply(LinearOperation(), self, weight, bias) }
        return apply(LinearOperation(), self, weight)
    }

    /// Adds a row to each of `rows` rows of this tensor, which was made for that and nobody else holds yet.
    func addRow(_ row: Tensor, rows: Int) {
        let width = row.count
        parallelFor(rows, grain: rowGrain(width)) { begin, end in
            Self.addRow(row.pointer, to: mutablePointer + begin * width, rows: end - begin, width: width)
        }
    }

    /// Adds a row to each of `rows` dense rows in memory.
    static func addRow(
        _ row: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, rows: Int, width: Int
    ) {
        var part = ck_binary_shape(
            rows: Int64(rows), cols: Int64(width), a_row: Int64(width), a_col: 1, b_row: 0, b_col: 1)
        ck_binary_f32(CK_ADD, &part, target, row, target)
    }
}
