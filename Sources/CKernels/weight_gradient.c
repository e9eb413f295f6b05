// The gradient of weights: what is chosen once per problem; see weight_gradient_kernels.h for the work.
#include "CKernels.h"

static inline int64_t ck_gradient_panel(ck_level level) { return 8 << (int)level; }
static inline int64_t ck_gradient_tile(ck_level level) { return level == CK_LEVEL_AVX512 ? 12 : level == CK_LEVEL_AVX2 ? 6 : 4; }

#define CK_FAMILY "weight_gradient_kernels.h"
#include "each_level.h"

void ck_weight_gradient_prepare(ck_weight_gradient *task, int64_t threads) {
    const ck_conv2d_shape *s = &task->shape;
    task->level = ck_level_current();
    const int64_t channels = s->c / s->groups, outputs = s->o / s->groups;
    const int64_t tile = ck_gradient_tile(task->level), panel = ck_gradient_panel(task->level);
    const int64_t panels = (outputs + panel - 1) / panel;
    task->tiles = (channels + tile - 1) / tile;
    const int64_t pixels = s->n * s->oh * s->ow, most = 320;
    const int64_t blocks = pixels > most ? (pixels + most - 1) / most : 1;
    task->block = pixels > 0 ? (pixels + blocks - 1) / blocks : 1;
    // The gradient of a part's panels, read once for each tile, stays in the second-level cache; and there are enough
    // units for every thread to get about as much work as the others.
    task->panel_parts = 1;
    while (2 * task->panel_parts <= panels &&
           (outputs / task->panel_parts * task->block > 81920 ||
            s->groups * task->panel_parts * s->kh * s->kw * task->tiles < 6 * threads))
        task->panel_parts *= 2;
    task->units = s->groups * task->panel_parts * s->kh * s->kw * task->tiles;
    // Pointers to the block's input pixels, and the zeros that the padding reads.
    task->scratch = task->block * (int64_t)(sizeof(float *) / sizeof(float)) + channels;
}

void ck_weight_gradient_run(const ck_weight_gradient *task, const float *x, const float *dy, int64_t begin, int64_t end,
                            float *sums, float *scratch) {
    static void (*const table[])(const ck_weight_gradient *, const float *, const float *, int64_t, int64_t, float *,
                                 float *) = CK_TABLE(ck_weight_gradient_run);
    table[task->level](task, x, dy, begin, end, sums, scratch);
}

void ck_weight_gradient_finish(const ck_weight_gradient *task, const float *sums, int64_t begin, int64_t end,
                               float *dweight) {
    static void (*const table[])(const ck_weight_gradient *, const float *, int64_t, int64_t, float *) =
        CK_TABLE(ck_weight_gradient_finish);
    table[task->level](task, sums, begin, end, dweight);
}
