// One step of an optimizer on n weights w with the gradient dw, in place. Nothing overlaps.
#ifndef CK_OPTIMIZER_H
#define CK_OPTIMIZER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    float learning_rate, momentum, weight_decay;
    bool nesterov;
    bool first;  // there is no momentum yet: m is written, not read
} ck_sgd;

// g = dw + weight_decay w;  m = first ? g : momentum m + g;  w -= learning_rate (nesterov ? g + momentum m : m)
// m may be NULL where momentum is 0: then w -= learning_rate g
void ck_sgd_step_f32(const ck_sgd *sgd, const float *restrict dw, float *restrict w, float *restrict m, int64_t n);

typedef struct {
    float step_size;         // learning rate / (1 - beta1^t)
    float beta2;
    float new1, new2;        // 1 - beta1 and 1 - beta2, rounded once: 1.0f - 0.999f is 5e-5 off
    float root_scale;        // 1 / sqrt(1 - beta2^t)
    float eps;
    float gradient_decay;    // the weights' part in the gradient (Adam)
    float kept;              // what remains of the weights before the step, 1 - learning rate * decay (AdamW)
} ck_adam;

// g = dw + gradient_decay w;  m += new1 (g - m);  v = beta2 v + new2 g^2;
// w = kept w - step_size m / (sqrt(v) root_scale + eps)
void ck_adam_step_f32(const ck_adam *adam, const float *restrict dw, float *restrict w, float *restrict m,
                      float *restrict v, int64_t n);

// y = y + weight (x - y), exactly x for weight 1
void ck_lerp_f32(float weight, const float *restrict x, float *restrict y, int64_t n);

void ck_sgd_step_f32_ref(const ck_sgd *sgd, const float *dw, float *w, float *m, int64_t n);
void ck_adam_step_f32_ref(const ck_adam *adam, const float *dw, float *w, float *m, float *v, int64_t n);

#endif
