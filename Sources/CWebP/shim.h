// libwebp: the decoder.
#include <webp/decode.h>
