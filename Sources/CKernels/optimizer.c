// Optimizer steps: see optimizer_kernels.h.
#define CK_FAMILY "optimizer_kernels.h"
#include "each_level.h"

CK_DISPATCH(ck_sgd_step_f32,
            (const ck_sgd *sgd, const float *restrict dw, float *restrict w, float *restrict m, int64_t n),
            (sgd, dw, w, m, n))
CK_DISPATCH(ck_adam_step_f32,
            (const ck_adam *adam, const float *restrict dw, float *restrict w, float *restrict m, float *restrict v,
             int64_t n),
            (adam, dw, w, m, v, n))
CK_DISPATCH(ck_lerp_f32, (float weight, const float *restrict x, float *restrict y, int64_t n), (weight, x, y, n))
