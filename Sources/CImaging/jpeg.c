// JPEG through libjpeg's API.
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include "ci_codec.h"

// A few hundred bytes can hold thousands of scans that each walk the whole picture; encoders write about ten.
enum { MAX_SCANS = 500 };

typedef struct {
    struct jpeg_error_mgr manager;
    jmp_buf escape;
    ci_message *message;
} error_handler;

static void on_error(j_common_ptr info) {
    error_handler *handler = (error_handler *)info->err;
    char text[JMSG_LENGTH_MAX];
    handler->manager.format_message(info, text);
    snprintf(handler->message->text, sizeof handler->message->text, "%s", text);
    longjmp(handler->escape, 1);
}

// libjpeg would print its warnings. It repairs what they warn of, as Pillow lets it.
static void on_message(j_common_ptr info) { (void)info; }

static void on_progress(j_common_ptr info) {
    j_decompress_ptr decompress = (j_decompress_ptr)info;
    if (decompress->input_scan_number <= MAX_SCANS) return;
    error_handler *handler = (error_handler *)info->err;
    snprintf(handler->message->text, sizeof handler->message->text, "more than %d scans", MAX_SCANS);
    longjmp(handler->escape, 1);
}

static void no_op(j_decompress_ptr info) { (void)info; }

// libjpeg's own memory source invents an end marker and decodes gray where the bytes end. Suspending instead tells a
// truncated file from a whole one.
static boolean suspend(j_decompress_ptr info) {
    (void)info;
    return FALSE;
}

static void skip(j_decompress_ptr info, long count) {
    if (count <= 0) return;
    struct jpeg_source_mgr *source = info->src;
    size_t step = (size_t)count < source->bytes_in_buffer ? (size_t)count : source->bytes_in_buffer;
    source->next_input_byte += step;
    source->bytes_in_buffer -= step;
}

typedef struct {
    struct jpeg_decompress_struct info;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    error_handler handler;
} decoder;

// Everything before jpeg_create_decompress: after this an error lands at the caller's setjmp.
static void prepare(decoder *d, ci_message *message) {
    memset(d, 0, sizeof *d);
    message->text[0] = 0;
    d->info.err = jpeg_std_error(&d->handler.manager);
    d->handler.manager.error_exit = on_error;
    d->handler.manager.output_message = on_message;
    d->handler.message = message;
}

static void open_source(decoder *d, const uint8_t *bytes, int64_t count) {
    jpeg_create_decompress(&d->info);
    d->source.init_source = no_op;
    d->source.fill_input_buffer = suspend;
    d->source.skip_input_data = skip;
    d->source.resync_to_restart = jpeg_resync_to_restart;
    d->source.term_source = no_op;
    d->source.next_input_byte = bytes;
    d->source.bytes_in_buffer = (size_t)count;
    d->info.src = &d->source;
    d->progress.progress_monitor = on_progress;
    d->info.progress = &d->progress;
}

static ci_status read_header(decoder *d, ci_message *message) {
    int result;
    do {
        result = jpeg_read_header(&d->info, FALSE);
    } while (result == JPEG_HEADER_TABLES_ONLY);
    if (result == JPEG_SUSPENDED) return CI_TRUNCATED;
    int components = d->info.num_components;
    if (components != 1 && components != 3 && components != 4) {
        snprintf(message->text, sizeof message->text, "JPEG with %d components", components);
        return CI_UNSUPPORTED;
    }
    return CI_OK;
}

ci_status ci_jpeg_size(const uint8_t *bytes, int64_t count, int64_t *width, int64_t *height, ci_message *message) {
    decoder d;
    prepare(&d, message);
    if (setjmp(d.handler.escape)) {
        jpeg_destroy_decompress(&d.info);
        return CI_CORRUPT;
    }
    open_source(&d, bytes, count);
    ci_status status = read_header(&d, message);
    *width = d.info.image_width;
    *height = d.info.image_height;
    jpeg_destroy_decompress(&d.info);
    return status;
}

// Inverted CMYK, as Adobe writes it and Pillow assumes of every file, to RGB by Pillow's formula: with C, M, Y, K
// upright, nk = 255 - K, and R = nk - C·nk/255 with the division rounded.
static void rgb_from_inverted_cmyk(const uint8_t *cmyk, uint8_t *rgb, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        int nk = cmyk[4 * i + 3];
        for (int c = 0; c < 3; c++) {
            int product = (255 - cmyk[4 * i + c]) * nk + 128;
            rgb[3 * i + c] = (uint8_t)(nk - ((product + (product >> 8)) >> 8));
        }
    }
}

static ci_status read_rows(decoder *d, uint8_t *rgb, int64_t width, int64_t height) {
    struct jpeg_decompress_struct *info = &d->info;
    // Gray is asked for as RGB, which copies it; libjpeg cannot turn CMYK into RGB.
    int is_cmyk = info->num_components == 4;
    info->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    if (!jpeg_start_decompress(info)) return CI_TRUNCATED;
    if (info->output_width != (JDIMENSION)width || info->output_height != (JDIMENSION)height) return CI_CORRUPT;
    JSAMPARRAY cmyk = NULL;
    if (is_cmyk) {
        cmyk = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, (JDIMENSION)(4 * width), 1);
    }
    for (int64_t y = 0; y < height; y++) {
        JSAMPROW target = rgb + y * width * 3;
        if (jpeg_read_scanlines(info, is_cmyk ? cmyk : &target, 1) != 1) return CI_TRUNCATED;
        if (is_cmyk) rgb_from_inverted_cmyk(cmyk[0], target, width);
    }
    // As in Pillow, a missing end does no harm after the last row; markers that make no sense do.
    jpeg_finish_decompress(info);
    return CI_OK;
}

ci_status ci_jpeg_decode(
    const uint8_t *bytes, int64_t count, uint8_t *rgb, int64_t width, int64_t height, ci_message *message) {
    decoder d;
    prepare(&d, message);
    if (setjmp(d.handler.escape)) {
        jpeg_destroy_decompress(&d.info);
        return CI_CORRUPT;
    }
    open_source(&d, bytes, count);
    ci_status status = read_header(&d, message);
    if (status == CI_OK) status = read_rows(&d, rgb, width, height);
    jpeg_destroy_decompress(&d.info);
    return status;
}

#define STRING(x) #x
#define STRING_OF(x) STRING(x)

const char *ci_jpeg_version(void) {
#ifdef LIBJPEG_TURBO_VERSION
    return STRING_OF(LIBJPEG_TURBO_VERSION);
#else
    return "libjpeg " STRING_OF(JPEG_LIB_VERSION);
#endif
}
