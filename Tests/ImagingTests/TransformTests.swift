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
