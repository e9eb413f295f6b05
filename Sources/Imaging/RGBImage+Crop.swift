extension RGBImage {
    /// The pixels that the box covers; black where it reaches beyond the picture, as in torchvision's `crop`.
    public func cropped(to box: CropBox) -> RGBImage {
        if box == CropBox(top: 0, left: 0, height: height, width: width) { return self }
        return RGBImage(width: box.width, height: box.height) { target in
            withUnsafePixels {
                box.copy(from: $0, height: height, width: width, channels: 3, zero: 0, to: target)
            }
        }
    }

    /// The middle of the picture, with black around it where the picture is smaller: torchvision's `center_crop`.
    public func centerCropped(height: Int, width: Int) -> RGBImage {
        cropped(to: CropBox(centeredIn: (self.height, self.width), height: height, width: width))
    }

    /// Three square crops whose side is the shorter edge: at the start, the centre and the end of the longer edge.
    public func threeCrops() -> [RGBImage] {
        CropBox.threeCrops(height: height, width: width).map(cropped)
    }
}

extension CropBox {
    /// The boxes of the reference's `three_crop`.
    package static func threeCrops(height: Int, width: Int) -> [CropBox] {
        let side = min(height, width)
        return [
            CropBox(top: 0, left: 0, height: side, width: side),
            CropBox(centeredIn: (height, width), height: side, width: side),
            CropBox(top: height - side, left: width - side, height: side, width: side),
        ]
    }
}
