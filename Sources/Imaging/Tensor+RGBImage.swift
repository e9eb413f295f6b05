import Tensors

extension Tensor {
    /// The picture as `[H, W, 3]`, scaled to 0 … 1 and normalized: torchvision's `ToTensor` and `Normalize`.
    public init(_ image: RGBImage, normalization: Normalization = .none) {
        let batch = [image]
        self.init(shape: [image.height, image.width, 3]) { Tensor.write(batch, normalization, to: $0) }
    }

    /// Pictures of one size as `[N, H, W, 3]`, scaled to 0 … 1 and normalized.
    ///
    /// - Precondition: there is at least one picture, and all have the same size.
    public init(batch images: [RGBImage], normalization: Normalization = .none) {
        precondition(!images.isEmpty, "Tensor(batch:): no pictures")
        let (height, width) = (images[0].height, images[0].width)
        for image in images {
            precondition(
                image.height == height && image.width == width,
                "Tensor(batch:): a picture of \(image.height) x \(image.width) among \(height) x \(width)")
        }
        self.init(shape: [images.count, height, width, 3]) { Tensor.write(images, normalization, to: $0) }
    }

    private static func write(
        _ images: [RGBImage], _ normalization: Normalization, to target: UnsafeMutableBufferPointer<Float>
    ) {
        normalization.table.withUnsafeBufferPointer { table in
            var i = 0
            for image in images {
                image.withUnsafePixels { pixels in
                    var k = 0
                    while k < pixels.count {
                        target[i] = table[Int(pixels[k])]
                        target[i + 1] = table[256 + Int(pixels[k + 1])]
                        target[i + 2] = table[512 + Int(pixels[k + 2])]
                        k += 3
                        i += 3
                    }
                }
            }
        }
    }
}
