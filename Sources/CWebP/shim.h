// libwebp: the decoder, and the container with its frames.
#include <webp/decode.h>
#include <webp/demux.h>
