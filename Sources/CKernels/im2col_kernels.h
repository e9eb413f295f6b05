// im2col and its transpose. Both walk a tile as runs: stretches of taps in one kernel row that are adjacent in col and,
// where nothing separates them, in the image too.
#define zero_run CK_NAME(zero_run)
CK_INLINE void zero_run(float *to, int64_t n) {
    V_EACH(i, n, lanes, v_store_n(to + i, v_splat(0), lanes););
}

#define add_run CK_NAME(add_run)
CK_INLINE void add_run(float *to, const float *from, int64_t n) {
    V_EACH(i, n, lanes, v_store_n(to + i, v_load_n(to + i, lanes) + v_load_n(from + i, lanes), lanes););
}

// Copies `count` runs of n floats, `step` apart in the image, one after the other to col. The vectors of a run may
// overlap; for the short runs of a stem with 3 channels, everything that depends on n is decided outside the loop.
#define copy_runs CK_NAME(copy_runs)
CK_INLINE void copy_runs(float *col, const float *image, int64_t count, int64_t step, int64_t n) {
    const int64_t last = n - CK_VL;
    if (n < CK_VL) {
        for (; count > 0; count--, col += n, image += step) v_store_part(col, v_load_part(image, n), n);
    } else if (n <= 2 * CK_VL) {
        for (; count > 0; count--, col += n, image += step) {
            v_store(col, v_load(image));
            v_store(col + last, v_load(image + last));
        }
    } else if (n <= 3 * CK_VL) {
        for (; count > 0; count--, col += n, image += step) {
            v_store(col, v_load(image));
            v_store(col + CK_VL, v_load(image + CK_VL));
            v_store(col + last, v_load(image + last));
        }
    } else {
        for (; count > 0; count--, col += n, image += step) v_copy(col, image, n);
    }
}

// `back` is a constant where this is inlined: false copies image to col, true adds col to image.
#define walk_tile CK_NAME(walk_tile)
CK_INLINE void walk_tile(const ck_conv2d_shape *shape, const ck_im2col_tile *tile, bool back, float *image,
                         float *col) {
    const ck_conv2d_shape s = *shape;
    const int64_t channels = tile->c_end - tile->c_begin;
    if (tile->row_begin >= tile->row_end || tile->tap_begin >= tile->tap_end || channels <= 0) return;
    const bool adjacent = s.dilation_w == 1 && channels == s.c;
    const bool whole = tile->tap_begin == 0 && tile->tap_end == s.kh * s.kw;
    const int64_t kh_first = tile->tap_begin / s.kw, kh_last = (tile->tap_end - 1) / s.kw;
    const int64_t kw_first = tile->tap_begin % s.kw, kw_last = (tile->tap_end - 1) % s.kw;
    int64_t ow = tile->row_begin % s.ow, oh = tile->row_begin / s.ow % s.oh, n = tile->row_begin / s.ow / s.oh;
    for (int64_t r = tile->row_begin; r < tile->row_end; r++) {
        // The taps [inside_begin, inside_end) of every kernel row lie inside the image's width.
        const int64_t w0 = ow * s.stride_w - s.pad_left;
        int64_t inside_begin = 0, inside_end = s.kw;
        if (w0 < 0) inside_begin = (-w0 + s.dilation_w - 1) / s.dilation_w;
        if (w0 + (s.kw - 1) * s.dilation_w >= s.w)
            inside_end = w0 >= s.w ? 0 : (s.w - w0 + s.dilation_w - 1) / s.dilation_w;
        const int64_t h0 = oh * s.stride_h - s.pad_top;
        int64_t kh = kh_first;
        if (!back && adjacent && whole && inside_begin == 0 && inside_end == s.kw && h0 >= 0 &&
            h0 + (s.kh - 1) * s.dilation_h < s.h) {
            copy_runs(col, image + ((n * s.h + h0) * s.w + w0) * channels, s.kh, s.dilation_h * s.w * channels,
                      s.kw * channels);
            col += s.kh * s.kw * channels;
            kh = s.kh;
        }
        for (; kh <= kh_last; kh++) {
            const int64_t begin = kh == kh_first ? kw_first : 0, end = kh == kh_last ? kw_last + 1 : s.kw;
            const int64_t h = h0 + kh * s.dilation_h;
            int64_t lower = inside_begin < begin ? begin : inside_begin, upper = inside_end > end ? end : inside_end;
            if (h < 0 || h >= s.h || lower >= upper) lower = upper = end;
            if (!back) {
                zero_run(col, (lower - begin) * channels);
                zero_run(col + (upper - begin) * channels, (end - upper) * channels);
            }
            float *run = col + (lower - begin) * channels;
            col += (end - begin) * channels;
            if (lower == upper) continue;
            float *pixel = image + ((n * s.h + h) * s.w + w0 + lower * s.dilation_w) * s.c + tile->c_begin;
            const int64_t count = adjacent ? 1 : upper - lower;
            const int64_t length = adjacent ? (upper - lower) * channels : channels;
            for (int64_t i = 0; i < count; i++, run += channels, pixel += s.dilation_w * s.c) {
                if (back)
                    add_run(pixel, run, length);
                else
                    v_copy(run, pixel, length);
            }
        }
        if (++ow == s.ow) {
            ow = 0;
            if (++oh == s.oh) {
                oh = 0;
                n++;
            }
        }
    }
}

static void CK_NAME(ck_im2col_f32)(const ck_conv2d_shape *shape, const ck_im2col_tile *tile, const float *x,
                                   float *col) {
    walk_tile(shape, tile, false, (float *)x, col);  // forwards, the image is only read
}

static void CK_NAME(ck_col2im_f32)(const ck_conv2d_shape *shape, const ck_im2col_tile *tile, const float *col,
                                   float *dx) {
    walk_tile(shape, tile, true, dx, (float *)col);  // backwards, the columns are
}
