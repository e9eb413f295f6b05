// PNG through libpng.
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "ci_codec.h"

typedef struct {
    const uint8_t *next;
    size_t remaining;
    int ended;  // whether more bytes were asked for than there are
    ci_message *message;
} source;

static void on_error(png_structp png, png_const_charp text) {
    source *from = png_get_error_ptr(png);
    snprintf(from->message->text, sizeof from->message->text, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep target, size_t count) {
    source *from = png_get_io_ptr(png);
    if (count > from->remaining) {
        from->ended = 1;
        png_error(png, "the bytes end");
    }
    memcpy(target, from->next, count);
    from->next += count;
    from->remaining -= count;
}

// Whether every row is there: then a missing end of the file does no harm, and Pillow does not look for it either.
static int has_all_rows(png_structp png, png_infop info) {
    if (png_get_interlace_type(png, info) != PNG_INTERLACE_NONE) return png_get_current_pass_number(png) >= 7;
    return png_get_current_row_number(png) >= png_get_image_height(png, info);
}

// Asks for RGB with 8 bits a channel, except for 16-bit gray, which stays: 2 bytes a pixel.
// Alpha and transparent colours are dropped, 16-bit colours keep their high byte, and no gamma is applied.
static void set_transforms(png_structp png, png_infop info) {
    png_byte color = png_get_color_type(png, info);
    png_byte depth = png_get_bit_depth(png, info);
    if (color == PNG_COLOR_TYPE_GRAY && depth == 16) return;
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16) png_set_strip_16(png);
    // After the palette has been expanded there is an alpha channel where it had one.
    png_set_strip_alpha(png);
    if (!(color & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
}

// 16-bit gray in the first 2·width bytes of the row to RGB, in place. Values above 255 become 255: Pillow's
// convert("RGB") of mode I;16 clips and does not scale.
static void rgb_from_gray16(uint8_t *row, int64_t width) {
    for (int64_t x = width - 1; x >= 0; x--) {
        uint8_t value = row[2 * x] ? 255 : row[2 * x + 1];
        row[3 * x] = row[3 * x + 1] = row[3 * x + 2] = value;
    }
}

ci_status ci_png_decode(
    const uint8_t *bytes, int64_t count, uint8_t *rgb, int64_t width, int64_t height, ci_message *message) {
    source from = {.next = bytes, .remaining = (size_t)count, .ended = 0, .message = message};
    message->text[0] = 0;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &from, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        snprintf(message->text, sizeof message->text, "libpng cannot start");
        return CI_CORRUPT;
    }
    // These live across the longjmp.
    volatile int is_gray16 = 0;
    volatile int has_started = 0;
    volatile ci_status status = CI_OK;
    if (setjmp(png_jmpbuf(png))) {
        int is_whole = from.ended && has_started && has_all_rows(png, info);
        status = is_whole ? CI_OK : from.ended ? CI_TRUNCATED : CI_CORRUPT;
    } else {
        png_set_read_fn(png, &from, read_bytes);
        png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // the caller has looked at the size
        png_read_info(png, info);
        is_gray16 = png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16;
        set_transforms(png, info);
        int passes = png_set_interlace_handling(png);
        png_read_update_info(png, info);
        if (png_get_image_width(png, info) != width || png_get_image_height(png, info) != height
            || png_get_rowbytes(png, info) != (size_t)width * (is_gray16 ? 2 : 3)) {
            png_error(png, "the header changed its mind");
        }
        has_started = 1;
        for (int pass = 0; pass < passes; pass++) {
            for (int64_t y = 0; y < height; y++) png_read_row(png, rgb + y * width * 3, NULL);
        }
    }
    png_destroy_read_struct(&png, &info, NULL);
    if (status == CI_OK && is_gray16) {
        for (int64_t y = 0; y < height; y++) rgb_from_gray16(rgb + y * width * 3, width);
    }
    return status;
}

static png_image description(int64_t width, int64_t height, int64_t channels) {
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = (png_uint_32)width;
    image.height = (png_uint_32)height;
    image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    return image;
}

int64_t ci_png_bound(int64_t width, int64_t height, int64_t channels) {
    // libpng computes the bound in 32 bits.
    if (width <= 0 || height <= 0 || width > 1000000 || height > 1000000) return 0;
    if (width * height > INT32_MAX / 4) return 0;
    png_image image = description(width, height, channels);
    return (int64_t)PNG_IMAGE_PNG_SIZE_MAX(image);
}

ci_status ci_png_encode(
    const uint8_t *pixels, int64_t width, int64_t height, int64_t channels, uint8_t *bytes, int64_t *count,
    ci_message *message) {
    png_image image = description(width, height, channels);
    png_alloc_size_t size = (png_alloc_size_t)*count;
    message->text[0] = 0;
    int is_written = png_image_write_to_memory(&image, bytes, &size, 0, pixels, 0, NULL);
    if (!is_written) snprintf(message->text, sizeof message->text, "%s", image.message);
    png_image_free(&image);
    *count = (int64_t)size;
    return is_written ? CI_OK : CI_CORRUPT;
}

const char *ci_png_version(void) { return png_get_libpng_ver(NULL); }
