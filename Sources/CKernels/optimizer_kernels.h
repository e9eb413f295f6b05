// Optimizer steps of one instruction-set level. All of them are bound by memory, so that one loop with conditions that
// do not change within it serves every variant.

static void CK_NAME(ck_sgd_step_f32)(const ck_sgd *sgd, const float *restrict dw, float *restrict w,
                                     float *restrict m, int64_t n) {
    const ck_sgd s = *sgd;
    V_EACH(i, n, lanes, {
        vf p = v_load_n(w + i, lanes);
        vf g = v_load_n(dw + i, lanes) + s.weight_decay * p;
        vf direction = g;
        if (m) {
            vf momentum = s.first ? g : s.momentum * v_load_n(m + i, lanes) + g;
            v_store_n(m + i, momentum, lanes);
            direction = s.nesterov ? g + s.momentum * momentum : momentum;
        }
        v_store_n(w + i, p - s.learning_rate * direction, lanes);
    });
}

static void CK_NAME(ck_adam_step_f32)(const ck_adam *adam, const float *restrict dw, float *restrict w,
                                      float *restrict m, float *restrict v, int64_t n) {
    const ck_adam a = *adam;
    V_EACH(i, n, lanes, {
        vf p = v_load_n(w + i, lanes);
        vf g = v_load_n(dw + i, lanes) + a.gradient_decay * p;
        vf mean = v_load_n(m + i, lanes);
        vf square = v_load_n(v + i, lanes);
        mean = mean + a.new1 * (g - mean);
        square = a.beta2 * square + a.new2 * (g * g);
        v_store_n(m + i, mean, lanes);
        v_store_n(v + i, square, lanes);
        vf denominator = __builtin_elementwise_sqrt(square) * a.root_scale + a.eps;
        v_store_n(w + i, a.kept * p - a.step_size * (mean / denominator), lanes);
    });
}

static void CK_NAME(ck_lerp_f32)(float weight, const float *restrict x, float *restrict y, int64_t n) {
    // From the nearer end, as PyTorch does, so that both ends are exact.
    if (weight < 0.5f) {
        V_EACH(i, n, lanes, {
            vf old = v_load_n(y + i, lanes);
            v_store_n(y + i, old + weight * (v_load_n(x + i, lanes) - old), lanes);
        });
    } else {
        V_EACH(i, n, lanes, {
            vf new = v_load_n(x + i, lanes);
            v_store_n(y + i, new - (1.0f - weight) * (new - v_load_n(y + i, lanes)), lanes);
        });
    }
}
