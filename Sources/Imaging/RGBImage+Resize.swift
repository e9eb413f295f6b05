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
    func resized(
        to size: (height: Int, width: Int), window: CropBox, interpolation: Interpolation
    ) -> RGBImage {
        if size == (height, width) { return cropped(to: window) }
        let rows = ResampleTaps<Double>(
            from: height, to: size.height, range: window.rows, interpolation: interpolation)
        if size.width == width {
            let narrow = window.width == width ? self : cropped(to: CropBox(allRowsOf: self, columns: window.columns))
            return narrow.resampledHeight(rows, origin: 0)
        }
        let columns = ResampleTaps<Double>(
            from: width, to: size.width, range: window.columns, interpolation: interpolation)
        // A pass that changes nothing must be left out: the wider cubic kernel would not be exact in fixed point.
        let isHeightKept = size.height == height
        let sourceRows = isHeightKept ? window.rows : rows.inputRange
        let narrow = resampledWidth(ResampleTaps<Int32>(columns), outWidth: window.width, rows: sourceRows)
        return isHeightKept ? narrow : narrow.resampledHeight(rows, origin: sourceRows.lowerBound)
    }

    private func resampledWidth(_ taps: ResampleTaps<Int32>, outWidth: Int, rows: Range<Int>) -> RGBImage {
        RGBImage(width: outWidth, height: rows.count) { target in
            withUnsafePixels { source in
                withUnsafeTemporaryAllocation(
                    of: UInt8.self, capacity: Int(ci_resample_scratch_u8(Int64(width)))
                ) { scratch in
                    taps.withCTaps {
                        ci_resample_width_u8(
                            source.baseAddress! + rows.lowerBound * width * 3, target.baseAddress!,
                            Int64(rows.count), Int64(width), Int64(outWidth), $0, scratch.baseAddress!)
                    }
                }
            }
        }
    }

    /// `origin` is the row of the uncropped picture that is row 0 here.
    private func resampledHeight(_ taps: ResampleTaps<Double>, origin: Int) -> RGBImage {
        let fixed = ResampleTaps<Int32>(taps, origin: origin)
        return RGBImage(width: width, height: fixed.first.count) { target in
            withUnsafePixels { source in
                fixed.withCTaps {
                    ci_resample_height_u8(
                        source.baseAddress!, target.baseAddress!, Int64(fixed.first.count), Int64(width * 3), $0)
                }
            }
        }
    }
}
