import CImaging

extension RGBImage {
    /// Pillow's antialiased resize: two passes in fixed point with 8-bit values between them. The bytes are those of
    /// `PIL.Image.resize`, and so of torchvision's `Resize` on a PIL image.
    public func resized(to target: ResizeTarget, interpolation: Interpolation = .bilinear) -> RGBImage {
        let size = target.size(forHeight: height, width: width)
        return resized(
            to: size, window: CropBox(top: 0, left: 0, height: size.height, width: size.width),
            interpolation: interpolation)
    }

    /// The part of the resized picture that `window` covers, which must lie inside it; only this part is computed.
    package func resized(
        to size: (height: Int, width: Int), window: CropBox, interpolation: Interpolation = .bilinear
    ) -> RGBImage {
        // A pass that keeps the length would change nothing and is left out.
        let rows: ResampleTaps<Double>? =
            size.height == height
            ? nil : ResampleTaps(from: height, to: size.height, range: window.rows, interpolation: interpolation)
        guard size.width != width else {
            var box = CropBox(top: 0, left: window.left, height: height, width: window.width)
            if let rows { return cropped(to: box).resampledHeight(rows, origin: 0) }
            (box.top, box.height) = (window.top, window.height)
            return cropped(to: box)
        }
        let columns = ResampleTaps<Double>(
            from: width, to: size.width, range: window.columns, interpolation: interpolation)
        guard let rows else { return resampledWidth(columns, rows: window.rows) }
        if isHeightFirst(to: size) { return resampledHeight(rows, origin: 0).resampledWidth(columns) }
        return resampledWidth(columns, rows: rows.inputRange)
            .resampledHeight(rows, origin: rows.inputRange.lowerBound)
    }

    /// Whether Pillow 13 begins with the height; the values between the passes are rounded, so the order shows.
    ///
    /// Pillow 12 always begins with the width. The rule was found by comparing Pillow 13.0.0 with both orders, bilinear
    /// and bicubic, on 5,800 pairs of sizes up to 900; it holds for all of them.
    private func isHeightFirst(to size: (height: Int, width: Int)) -> Bool {
        size.height < height && height - size.height > 2 * (width - size.width)
    }

    /// The given rows, all unless told otherwise, with their width resampled.
    private func resampledWidth(_ taps: ResampleTaps<Double>, rows: Range<Int>? = nil) -> RGBImage {
        let fixed = ResampleTaps<Int32>(taps)
        let outWidth = fixed.first.count
        let rows = rows ?? 0..<height
        return RGBImage(width: outWidth, height: rows.count) { target in
            withUnsafePixels { source in
                withUnsafeTemporaryAllocation(
                    of: UInt8.self, capacity: Int(ci_resample_scratch_u8(Int64(width)))
                ) { scratch in
                    fixed.withCTaps {
                        ci_resample_width_u8(
                            source.baseAddress! + rows.lowerBound * width * 3, target.baseAddress!,
                            Int64(rows.count), Int64(width), Int64(outWidth), $0, scratch.baseAddress!,
                            ResampleLevel.current)
                    }
                }
            }
        }
    }

    /// `origin` is the row of the uncropped picture that is row 0 here.
    private func resampledHeight(_ taps: ResampleTaps<Double>, origin: Int) -> RGBImage {
        let fixed = ResampleTaps<Int32>(taps.counted(from: origin))
        return RGBImage(width: width, height: fixed.first.count) { target in
            withUnsafePixels { source in
                fixed.withCTaps {
                    ci_resample_height_u8(
                        source.baseAddress!, target.baseAddress!, Int64(fixed.first.count), Int64(width * 3), $0,
                        ResampleLevel.current)
                }
            }
        }
    }
}
