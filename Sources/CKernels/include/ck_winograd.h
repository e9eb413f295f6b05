// 3 x 3, 1 x 7 and 7 x 1 convolution of stride 1 for inference by Winograd's minimal filtering (Lavin and Gray, arXiv
// 1509.09308): tiles of m x m output pixels from (m + 2)^2 products a channel pair instead of 9 m^2, or lines of 4 from 10
// instead of 28. Relative to a direct convolution the
// result has an error of about 1e-6 of the output's root mean square.
//
//     ck_winograd_conv conv = {.shape = ..., .strides = ..., .epilogue = ...};
//     ck_winograd_prepare(&conv, threads);                          // chooses tiles and blocks
//     ck_winograd_pack(&conv, weight, 0, conv.panels, packed);      // once, ck_winograd_weights(&conv) floats
//     ck_winograd_run(&conv, &operands, begin, end, scratch);       // any ranges that cover 0 ..< conv.units
#ifndef CK_WINOGRAD_H
#define CK_WINOGRAD_H

#include "ck_conv.h"
#include "ck_fused.h"
#include "ck_level.h"

typedef struct {
    // 3 x 3, 1 x 7 or 7 x 1, stride 1, dilation 1, padding less than the kernel; any sizes and groups. Not CK_COMBINE_INTERLEAVE.
    ck_conv2d_shape shape;
    ck_strides strides;
    ck_epilogue epilogue;

    // Set by ck_winograd_prepare.
    ck_level level;   // whose layout the packed weights have
    int64_t units;    // of work; units are independent of each other
    int64_t scratch;  // floats that each concurrent ck_winograd_run needs, 64-byte aligned
    int64_t panels;   // of output channels, in the packed weights

    // The packed weights depend on the level, on `paired` and on m; plans whose m is equal can share them.
    bool paired;                  // the channels' products are added up in pairs: see paired.h
    int64_t m;                    // outputs of a tile in each direction, 2 to 4; tiles at the ends of a row may have less
    int64_t tiles_h, tiles_w;     // of an image
    int64_t blocks, block_tiles;  // blocks of consecutive tiles of all images, and the most tiles that one has
    int64_t chunks;               // of groups, whose inputs are transformed together
    int64_t panel_splits;         // a unit is a block, a chunk and one of the splits of its panels
    int64_t panel_group;          // panels whose products are in scratch at the same time
} ck_winograd_conv;

// Whether it is possible and faster than multiplying directly.
bool ck_winograd_suits(const ck_conv2d_shape *shape);

// Chooses m by itself, unless `m` is already set (2 to 4; a line's is 4) for weights that are shared with another shape.
void ck_winograd_prepare(ck_winograd_conv *conv, int64_t threads);

// The floats of the packed weights.
int64_t ck_winograd_weights(const ck_winograd_conv *conv);

// Packs panels [begin, end) from [O, KH, KW, C / groups]; packed is where all panels are.
void ck_winograd_pack(const ck_winograd_conv *conv, const float *weight, int64_t begin, int64_t end, float *packed);

// The same from weights that lie as `view` says; see ck_packed_conv_pack_view.
void ck_winograd_pack_view(const ck_winograd_conv *conv, const ck_weight_view *view, int64_t begin, int64_t end,
                           float *packed);

// From the packed layout of panels [begin, end) back to [O, 3, 3, C / groups], as exactly as rounding left it, for 3 x 3 kernels;
// conv need not be the one that packed, but of the same shape, level, pairing and m.
void ck_winograd_unpack(const ck_winograd_conv *conv, const float *packed, int64_t begin, int64_t end, float *weight);

// Computes units [begin, end). The result does not depend on how the units are split.
void ck_winograd_run(const ck_winograd_conv *conv, const ck_operands *operands, int64_t begin, int64_t end,
                     float *scratch);

#endif
