// Convolution and Linear for inference: packed weights, no im2col (rows of the product are pointers into the input,
// arXiv 1907.02129), and everything that surrounds the product done on the way in and out.
//
// A Linear over R rows is a 1 x 1 convolution of one image of 1 x R pixels.
//
//     ck_packed_conv conv = {.shape = ..., .strides = ..., ...};
//     ck_packed_conv_prepare(&conv, threads);                       // chooses panels and blocks
//     ck_packed_conv_pack(&conv, weight, packed);                   // once, ck_packed_conv_weights(&conv) floats
//     ck_packed_conv_run(&conv, &operands, begin, end, scratch);    // any ranges that cover 0 ..< conv.units
#ifndef CK_PACKED_H
#define CK_PACKED_H

#include "ck_conv.h"
#include "ck_fused.h"
#include "ck_level.h"

// What happens to the rows of x before the product; only for 1 x 1 kernels of stride 1 without padding and groups.
typedef enum {
    CK_PROLOGUE_NONE,
    CK_PROLOGUE_AFFINE,       // scale[c] x + shift[c]
    CK_PROLOGUE_AFFINE_RELU,  // max(0, scale[c] x + shift[c])
    CK_PROLOGUE_IMAGE_SCALE,  // scale[n, c] x, n the row's image: squeeze-and-excitation
    CK_PROLOGUE_LAYER_NORM,   // layer norm over the row's channels with eps, then scale[c], shift[c] (null: left out)
} ck_prologue;

// How packed weights lie at a level.
typedef enum {
    CK_WEIGHTS_ANY,      // as suits the shape best
    CK_WEIGHTS_VECTORS,  // for multiply-adds of vectors
    CK_WEIGHTS_AMX,      // for AMX, if the level has that: see amx_kernels.h
    CK_WEIGHTS_PAIRED,   // for pairs of terms, if the level has that: see paired_kernels.h
} ck_weight_layout;

typedef struct {
    ck_conv2d_shape shape;
    ck_strides strides;
    ck_epilogue epilogue;
    ck_prologue prologue;
    float eps;
    // Whether rows of the same image may be added to each other (Strassen's multiplication), or scaled by one factor (pairs by
    // pixels). Then an error is relative to the largest of some rows, a row of zeros does not give exactly the bias, and one with a NaN spoils others: not for gradients.
    bool mixes_rows;
    ck_weight_layout weight_layout;  // other than ANY where packed weights serve several shapes

    // Set by ck_packed_conv_prepare.
    ck_level level;     // whose layout the packed weights have
    int64_t units;      // of work, independent of each other: row_parts x panel_parts parts for one thread each, x slices
    int64_t scratch;    // floats that each concurrent ck_packed_conv_run needs, 64-byte aligned
    int64_t panels;     // of packed weights, in all groups
    int64_t row_parts, panel_parts;
    int64_t slices;     // of a part: some of its blocks of tiles, or of its panels where it has one block
    int64_t panel, grain;     // output channels of a panel; a group's last one or two have fewer, in multiples of grain
    int64_t tile;             // rows of a micro-kernel, at most
    bool rows_first;          // a tile is multiplied with all panels before the next one's turn
    int64_t tile_block;       // tiles that go by one panel, or that a call multiplies with all
    int64_t k_block;          // floats of a row's input that are multiplied before the next tile's turn
    bool merged;              // the taps of a kernel's row are one run of memory
    bool scales_weights;      // CK_PROLOGUE_IMAGE_SCALE multiplies the weights, once a call, instead of every row
    bool strassen;            // seven products for two tiles and two panels; see strassen_kernels.h
    bool paired;              // one multiplication for two terms, and a direct one beside it; see paired_kernels.h
    bool paired_pixels;       // and a pixel's three channels are a pair and the one beside it
    bool amx;                 // pairs of tiles and panels of AMX, weights in three parts of bfloat16; see amx_kernels.h
} ck_packed_conv;

// Operands beside ck_operands, all null for none.
// What scratch memory holds from a call before, for other units of the same problem with the same operands; zeros at first.
typedef struct {
    int64_t rows;  // the part of the rows that is prepared, counted from 1
    bool weights;  // whether the scaled weights are there
} ck_packed_kept;

typedef struct {
    const float *scale, *shift;  // of the prologue
    // Row r = (n OH + oh) OW + ow of the product reads row x_rows[r] of x (-1: zeros, after the prologue; 1 x 1 kernels of
    // stride 1 only) and goes to row y_rows[r] of y, where its residual is too (-1: nowhere).
    const int32_t *x_rows, *y_rows;
    const float *padding;  // [C], without groups: what taps beyond the image read instead of zeros
    ck_packed_kept *kept;  // of the scratch memory that is used; null if it holds nothing
} ck_packed_extras;

void ck_packed_conv_prepare(ck_packed_conv *conv, int64_t threads);

// The floats of the packed weights.
int64_t ck_packed_conv_weights(const ck_packed_conv *conv);

// From [O, KH, KW, C / groups] to the packed layout.
void ck_packed_conv_pack(const ck_packed_conv *conv, const float *weight, float *packed);

// The same for panels [begin, end) of conv->panels, for several threads that share the packing.
void ck_packed_conv_pack_panels(const ck_packed_conv *conv, const float *weight, float *packed, int64_t begin,
                                int64_t end);

// From the packed layout of panels [begin, end) back to the weights' own; conv need not be the one that packed, but of the same
// shape and level.
void ck_packed_conv_unpack_panels(const ck_packed_conv *conv, const float *packed, float *weight, int64_t begin,
                                  int64_t end);

// As ck_packed_conv_pack_panels from weights that lie as `view` says: those of the convolution that computes an input's gradient, which are
// another's with inputs and outputs exchanged.
void ck_packed_conv_pack_view(const ck_packed_conv *conv, const ck_weight_view *view, float *packed, int64_t begin,
                              int64_t end);

// Computes units [begin, end).
void ck_packed_conv_run(const ck_packed_conv *conv, const ck_operands *operands, const ck_packed_extras *extras,
                        int64_t begin, int64_t end, float *scratch);

#endif
