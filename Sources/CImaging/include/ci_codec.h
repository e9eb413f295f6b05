// JPEG and PNG between bytes in memory and interleaved 8-bit RGB.
#ifndef CI_CODEC_H
#define CI_CODEC_H

#include <stdint.h>

typedef enum {
    CI_OK = 0,
    CI_TRUNCATED,    // the bytes end before the picture does
    CI_CORRUPT,      // the message says what is wrong
    CI_UNSUPPORTED,  // a kind of the format that is not decoded here; the message says which
} ci_status;

// A decoder's own words, one line.
typedef struct {
    char text[256];
} ci_message;

// The size of a JPEG, from its header.
ci_status ci_jpeg_size(const uint8_t *bytes, int64_t count, int64_t *width, int64_t *height, ci_message *message);

// Decodes a JPEG of the given size, as ci_jpeg_size said, into rgb[height][width][3].
ci_status ci_jpeg_decode(
    const uint8_t *bytes, int64_t count, uint8_t *rgb, int64_t width, int64_t height, ci_message *message);

// Decodes a PNG of the given size, as its IHDR chunk says, into rgb[height][width][3].
ci_status ci_png_decode(
    const uint8_t *bytes, int64_t count, uint8_t *rgb, int64_t width, int64_t height, ci_message *message);

// An upper bound of the bytes that ci_png_encode writes; 0 when the size is beyond what PNG encoding handles.
int64_t ci_png_bound(int64_t width, int64_t height, int64_t channels);

// Encodes pixels[height][width][channels], channels 1 (gray) or 3 (RGB). `count` comes in as the capacity of `bytes`
// and goes out as the number of bytes written.
ci_status ci_png_encode(
    const uint8_t *pixels, int64_t width, int64_t height, int64_t channels, uint8_t *bytes, int64_t *count,
    ci_message *message);

// The versions that were compiled against (JPEG) and are loaded (PNG), such as "2.1.5".
const char *ci_jpeg_version(void);
const char *ci_png_version(void);

#endif
