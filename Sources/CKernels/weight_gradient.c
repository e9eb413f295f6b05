// The gradient of weights: what is chosen once per problem; see weight_gradient_kernels.h for the work.
#include "CKernels.h"

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
    task->scratch = task->block * (int64_t)(sizeof(float *) / sizeof(float)) + channels;
}

void ck_weight_gradient_run(const ck_weight_gradient *task, const float *x, const float *dy, int64_t begin, int64_t end,
                            float *dweight, float *scratch) {
    static void (*const table[])(const ck_weight_gradient *, const float *, const float *, int64_t, int64_t, float *,
                                 float *) = CK_TABLE(ck_weight_gradient_run);
    table[task->level](task, x, dy, begin, end, dweight, scratch);
}
