import CImaging
import Imaging
import Tensors
import Testing

@Suite struct TransformTests {
    /// Bit-exact with Pillow.
    @Test func resizeEqualsPillow() throws {
        for row in Fixtures.expected.resizes {
            let resized = try Fixtures.image(row.file)
                .resized(to: .exact(height: row.height, width: row.width), interpolation: row.interpolation)
            #expect(resized.width == row.width && resized.height == row.height)
            #expect(resized.sha256Digits == row.sha256, "\(row)")
        }
    }

    /// The kernels of the processor's best level against the portable ones, on weights that leave 0 … 255.
    @Test func levelsGiveTheSameBytes() {
        var random = SplitMix(state: 3)
        let (height, width, outSize, stride) = (29, 23, 37, 8)
        let pixels = (0..<height * width * 3).map { _ in UInt8(min(255, Int.random(in: 0...400, using: &random))) }
        let used = (0..<outSize).map { _ in Int32.random(in: 1...7, using: &random) }
        let first = used.map { Int32.random(in: 0...Int32(width) - $0, using: &random) }
        var weights = [Int32](repeating: 0, count: outSize * stride)
        for i in 0..<outSize {
            // Seven times 255 times the largest still fits into 32 bits.
            let sign: Int32 = i % 2 == 0 ? 1 : -1
            for k in 0..<Int(used[i]) {
                weights[i * stride + k] = sign * .random(in: 300_000...1_150_000, using: &random)
            }
        }
        func run(_ level: ci_level) -> [[UInt8]] {
            var scratch = [UInt8](repeating: 0, count: Int(ci_resample_scratch_u8(Int64(width))))
            var narrow = [UInt8](repeating: 0, count: height * outSize * 3)
            var low = [UInt8](repeating: 0, count: outSize * width * 3)
            first.withUnsafeBufferPointer { first in
                used.withUnsafeBufferPointer { used in
                    weights.withUnsafeBufferPointer { weights in
                        let taps = ci_taps_u8(
                            first: first.baseAddress, used: used.baseAddress, weights: weights.baseAddress,
                            stride: Int64(stride))
                        ci_resample_width_u8(
                            pixels, &narrow, Int64(height), Int64(width), Int64(outSize), taps, &scratch, level)
                        ci_resample_height_u8(pixels, &low, Int64(outSize), Int64(width * 3), taps, level)
                    }
                }
            }
            return [narrow, low]
        }
        let portable = run(CI_LEVEL_PORTABLE)
        #expect(portable == run(ci_level_supported()))
        #expect(portable[0].contains(0) && portable[0].contains(255))
    }

    /// The float path. Torch sums with other rounding: a few units in the last place of numbers up to about 1.
    @Test func tensorResizeEqualsTorch() throws {
        for row in Fixtures.expected.tensorResizes {
            let target = try ResizeTarget.exact(height: #require(row.height), width: #require(row.width))
            let resized = try Tensor(Fixtures.image(row.file))
                .resizedImage(to: target, interpolation: #require(row.interpolation))
            let difference = row.difference(from: resized, tolerance: 2e-6)
            #expect(difference == nil, "\(row.file) \(target)")
        }
    }

    @Test func sizesEqualTorchvision() {
        for row in Fixtures.expected.sizes {
            let target = ResizeTarget.shorterEdge(row.edge, maximum: row.maximum)
            // torchvision lets a side become zero here and fails later.
            guard row.to.allSatisfy({ $0 > 0 }) else { continue }
            let size = target.size(forHeight: row.from[0], width: row.from[1])
            #expect([size.height, size.width] == row.to, "\(row)")
        }
    }

    @Test func centerCropsEqualTorchvision() throws {
        for row in Fixtures.expected.centerCrops {
            let image = try Fixtures.image(row.file)
            let cropped = image.centerCropped(height: row.height, width: row.width)
            #expect(cropped.sha256Digits == row.sha256, "\(row)")
            let tensor = Tensor(image).centerCroppedImage(height: row.height, width: row.width)
            #expect(tensor.scalars == Tensor(cropped).scalars, "\(row)")
        }
    }

    @Test func cropsBeyondThePictureAreBlackThere() throws {
        let image = try Fixtures.image("png_rgb8.png")
        let cropped = image.cropped(to: CropBox(top: -2, left: image.width - 3, height: 5, width: 6))
        for y in 0..<5 {
            for x in 0..<6 {
                let expected = y < 2 || x > 2 ? .zero : image[x: x + image.width - 3, y: y - 2]
                #expect(cropped[x: x, y: y] == expected)
            }
        }
        let outside = image.cropped(to: CropBox(top: 100, left: -50, height: 2, width: 3))
        #expect(outside == RGBImage(width: 3, height: 2))
    }

    @Test func threeCropsEqualTheReference() throws {
        for row in Fixtures.expected.threeCrops {
            let image = try Fixtures.image(row.file)
            let difference = row.difference(from: Tensor(image).threeCroppedImage(), tolerance: 1e-7)
            #expect(difference == nil, "\(row.file)")
            #expect(Tensor(batch: image.threeCrops()).scalars == Tensor(image).threeCroppedImage().scalars)
        }
    }

    @Test func presetsEqualTorchvision() throws {
        for row in Fixtures.expected.presets {
            let preset = try ClassificationPreset(
                cropSize: #require(row.cropSize), resizeSize: #require(row.resizeSize),
                interpolation: #require(row.interpolation))
            let image = try Fixtures.image(row.file)
            let difference = row.difference(from: preset(image), tolerance: 1e-6)
            #expect(difference == nil, "\(row.file) \(preset)")

            // Only the crop is computed; the whole must give the same.
            let whole = image.resized(to: .shorterEdge(preset.resizeSize), interpolation: preset.interpolation)
            #expect(whole.centerCropped(height: preset.cropSize, width: preset.cropSize) == preset.cropped(image))
        }
    }

    @Test func tensorPresetsEqualTorchvision() throws {
        for row in Fixtures.expected.tensorPresets {
            let preset = try TensorPreset(
                cropSize: #require(row.cropSize), resize: .shorterEdge(#require(row.resizeSize)))
            let difference = try row.difference(from: preset(Fixtures.image(row.file)), tolerance: 5e-6)
            #expect(difference == nil, "\(row.file)")
        }
    }

    /// Only the crop is computed; the whole must give the same, also where the crop reaches beyond it.
    @Test(arguments: [(9, 40), (40, 9), (24, 24), (60, 50), (10, 12)])
    func tensorPresetsCropTheResizedPicture(height: Int, width: Int) throws {
        let image = try Tensor(Fixtures.image("scene.png"))
        for interpolation in [Interpolation.bilinear, .bicubic] {
            let target = ResizeTarget.exact(height: height, width: width)
            let preset = TensorPreset(cropSize: 24, resize: target, interpolation: interpolation, normalization: .none)
            let whole = image.resizedImage(to: target, interpolation: interpolation)
            let expected = whole.centerCroppedImage(height: 24, width: 24)
            #expect(try preset(Fixtures.image("scene.png")).scalars == expected.scalars)
        }
    }

    @Test func batchesStackPictures() throws {
        let preset = ClassificationPreset(cropSize: 24, resizeSize: 32)
        let images = try ["scene.png", "scene_tall.png"].map(Fixtures.image)
        let batch = preset(images)
        #expect(batch.shape == [2, 24, 24, 3])
        #expect(batch.scalars == images.flatMap { preset($0).scalars })
        let normalized = Tensor(images[0], normalization: .imageNet)
        #expect(Normalization.imageNet(Tensor(images[0])).scalars == normalized.scalars)
        #expect(Tensor(images[0]).scalars == images[0].pixels.map { Float($0) / 255 })
    }
}
