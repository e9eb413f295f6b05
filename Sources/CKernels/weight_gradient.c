// The gradient of weights: what is chosen once per problem; see weight_gradient_kernels.h for the work.
#include "CKernels.h"
#include "integers.h"

// The columns of a part's gradient, at most, in whole vectors.
static int64_t ck_weight_gradient_columns(const ck_weight_gradient *task) {
    const int64_t tile = 12, tiles = (task->shape.o / task->shape.groups + tile - 1) / tile;
    return ck_up((tiles + task->parts - 1) / task->parts * tile, 16);
}

#define CK_FAMILY "weight_gradient_kernels.h"
#include "each_level.h"

void ck_weight_gradient_prepare(ck_weight_gradient *task, int64_t threads) {
    static const int64_t tiles[] = {4, 6, 12, 12}, panels[] = {8, 16, 32, 32};
    const ck_conv2d_shape *s = &task->shape;
    task->level = ck_level_current();
    const int64_t channels = s->c / s->groups, outputs = s->o / s->groups, taps = s->kh * s->kw;
    const int64_t tile = tiles[task->level], panel = panels[task->level];
    task->panels = (channels + panel - 1) / panel;
    // Blocks of about the same size.
    const int64_t pixels = s->n * s->oh * s->ow, most = 320;
    const int64_t blocks = pixels > most ? (pixels + most - 1) / most : 1;
    task->block = pixels > 0 ? (pixels + blocks - 1) / blocks : 1;
    // The gradient of a part's channels, read once for each panel, stays in the second-level cache; and there are
    // enough units for every thread to get about as much work as the others.
    task->parts = 1;
    while (2 * task->parts * tile <= outputs &&
           (outputs / task->parts * task->block > 81920 ||
            s->groups * task->parts * taps * task->panels < 6 * threads))
        task->parts *= 2;
    task->units = s->groups * task->parts * taps * task->panels;
    // Pointers to the block's input pixels, and the zeros that the padding reads.
    const int64_t in_pointer = (int64_t)(sizeof(float *) / sizeof(float));
    task->scratch = task->block * in_pointer + channels;
    // Where there are enough outputs to pay for the copies of the input, and enough pixels for those of both (two threads of a Zen 4,
    // a whole step of training: ResNet-50 at 8 932 to 877 ms, ViT-B/32 1080 to 972, ResNet-18 at 16 619 to 610).
    task->paired = task->level == CK_LEVEL_AVX512 && ck_cores_current() == CK_CORES_ZEN4 && outputs >= 24 && pixels >= 48;
    // Copies of a block's pixels, a part's outputs and a panel's channels, with two constants for each, and pointers.
    if (task->paired)
        task->scratch = task->block * in_pointer + ck_up(channels, 16) +
                        (2 + (task->block + 2) / 3 * 3) * (ck_weight_gradient_columns(task) + panel) + task->block * in_pointer;
}

void ck_weight_gradient_run(const ck_weight_gradient *task, const float *x, const float *dy, int64_t begin, int64_t end,
                            float *dweight, float *scratch) {
    static void (*const table[])(const ck_weight_gradient *, const float *, const float *, int64_t, int64_t, float *,
                                 float *) = CK_TABLE(ck_weight_gradient_run);
    table[task->level](task, x, dy, begin, end, dweight, scratch);
}
