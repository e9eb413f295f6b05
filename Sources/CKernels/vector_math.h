// exp and what is made from it, for vectors of the level that is being compiled. Include it in a family of kernels,
// after vector.h.
#define v_exp CK_NAME(ck_v_exp)
#define v_exp_scaled CK_NAME(ck_v_exp_scaled)
#define v_exp_bounded CK_NAME(ck_v_exp_bounded)
#define v_sigmoid CK_NAME(ck_v_sigmoid)
#define v_silu CK_NAME(ck_v_silu)
#define v_tanh CK_NAME(ck_v_tanh)
#define v_normal_cdf CK_NAME(ck_v_normal_cdf)

// e^x = 2^n p for x = n ln 2 + r, |r| <= ln(2) / 2; *shifted holds n in its low bits. The polynomial is a minimax fit
// whose relative error is 3e-9.
#define exp_parts CK_NAME(exp_parts)
CK_INLINE vf exp_parts(vf x, vi *shifted) {
    const float magic = 0x1.8p23f;  // adding it rounds to an integer, which then stands in the low bits
    const vf sum = x * 1.44269504088896341f + magic;
    const vf n = sum - magic;
    vf r = x - n * 0.693145751953125f;  // 16 bits, so that the product is exact
    r = r - n * 1.428606765330187045e-06f;
    vf p = v_splat(0.0013814540579915047f);
    p = p * r + 0.00836874544620514f;
    p = p * r + 0.04166838899254799f;
    p = p * r + 0.1666652113199234f;
    p = p * r + 0.4999999403953552f;
    *shifted = (vi)sum;
    return p * (r * r) + r + 1.0f;
}

// Within 1 ulp of e^x where the result is normal, within one subnormal step below; infinity above 88.73, 0 below
// -103.98; NaN stays.
CK_INLINE vf v_exp(vf x) {
    vi n;
    const vf p = exp_parts(v_min(v_splat(100.0f), v_max(v_splat(-110.0f), x)), &n);
    // 2^n in two steps, so that both factors are normal numbers whatever the result is.
    n = n - (vi)v_splat(0x1.8p23f);
    const vi half = n >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((n - half + 127) << 23);
}

// e^(scale x), with a relative error of about 1.5e-7 + 1.4e-8 |scale x|, for scale x between -87.3 and 88.3: less work, since
// 2^n is a normal number. `scale` is a constant where this is inlined.
CK_INLINE vf v_exp_scaled(vf x, float scale) {
#if CK_VL == 16 && !defined(CK_EMULATE_AVX512)
    // 2^n 2^r; the polynomial is a minimax fit for |r| <= 1/2 with a relative error of 9e-8, exact at 0.
    const float factor = scale * 1.44269504f;
    const vf n = (vf)_mm512_roundscale_ps((__m512)(x * factor), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vf r = x * factor - n;
    vf p = v_splat(0.0013264727f);
    p = p * r + 0.009671513f;
    p = p * r + 0.055507336f;
    p = p * r + 0.24022242f;
    p = p * r + 0.693147f;
    p = p * r + 1.0f;
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    vi n;
    const vf p = exp_parts(x * scale, &n);
    return p * (vf)((n + 127) << 23);
#endif
}

// e^x as v_exp_scaled, and its value at the bounds beyond: for results that go into 1 + e^x, or that may be 1e-38 instead of
// 0.
CK_INLINE vf v_exp_bounded(vf x) { return v_exp_scaled(v_min(v_splat(88.3f), v_max(v_splat(-87.3f), x)), 1); }

// Divisions, in this and what follows: they run beside the multiplications of a Zen 4 (SiLU of 16 lanes in 2.4 ns; 3.1 with
// an approximate inverse and a step of Newton's instead).
CK_INLINE vf v_sigmoid(vf x) { return 1.0f / (1.0f + v_exp_bounded(-x)); }

#if CK_VL == 16 && !defined(CK_EMULATE_AVX512)
// 2^(i / 32)
static const float CK_NAME(ck_powers)[32] = {
    1.0f,          1.021897149f,  1.044273782f,  1.067140401f,  1.090507733f,  1.114386743f,  1.138788635f,  1.163724859f,
    1.189207115f,  1.215247360f,  1.241857812f,  1.269050957f,  1.296839555f,  1.325236643f,  1.354255547f,  1.383909882f,
    1.414213562f,  1.445180807f,  1.476826146f,  1.509164428f,  1.542210825f,  1.575980845f,  1.610490332f,  1.645755478f,
    1.681792831f,  1.718619298f,  1.756252160f,  1.794709075f,  1.834008086f,  1.874167634f,  1.915206561f,  1.957144124f,
};
#endif

// x / (1 + e^-x)
CK_INLINE vf v_silu(vf x) {
#if CK_VL == 16 && !defined(CK_EMULATE_AVX512)
    // e^-x = 2^(n + r) for a multiple n of 1/32, whose fraction's power is looked up by the low bits of `sum`; r is so small
    // that two terms do (2.4 ns; 2.9 with v_exp_scaled's polynomial). Infinite for x below -89, as it should be.
    const float magic = 0x1.8p18f, factor = -1.44269504f;
    const vf y = v_min(v_splat(87.3f), x);
    const vf sum = y * factor + magic;
    const vf n = sum - magic;
    const vf r = y * factor - n;
    const float *powers = CK_NAME(ck_powers);
    const vf power = (vf)_mm512_permutex2var_ps((__m512)v_load(powers), (__m512i)sum, (__m512)v_load(powers + 16));
    const vf p = (0.24022651f * r + 0.69314718f) * (power * r) + power;
    return x / (1.0f + (vf)_mm512_scalef_ps((__m512)p, (__m512)n));
#else
    return x / (1.0f + v_exp_bounded(-x));
#endif
}

// Cephes' polynomial for small |x|; otherwise 1 - 2 / (e^2|x| + 1) with the sign of x.
CK_INLINE vf v_tanh(vf x) {
    vf a = v_abs(x), z = x * x;
    vf p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    p = p * z * x + x;
    vf large = 1.0f - 2.0f / (v_exp_bounded(2.0f * a) + 1.0f);
    large = (vf)((vi)large | ((vi)x & (int32_t)0x80000000));
    return a < 0.625f ? p : large;
}

// The normal distribution's cumulative function: 0.5 (1 + erf(x / sqrt 2)). *e becomes exp(-x^2 / 2). With
// t = 1 / (1 + 0.3 |x|), the tail beyond |x| divided by *e is a polynomial in t; a minimax fit of degree 8 is within
// 6e-8 of it, relatively, for |x| <= 14, beyond which the tail is 0 in float.
CK_INLINE vf v_normal_cdf(vf x, vf *e) {
    *e = v_exp_scaled(v_min(v_splat(174.6f), x * x), -0.5f);
    vf t = 1.0f / (1.0f + 0.3f * v_abs(x));
    vf p = v_splat(0.03837869316339493f);
    p = p * t - 0.16916798055171967f;
    p = p * t + 0.22866372764110565f;
    p = p * t - 0.07651038467884064f;
    p = p * t + 0.14253802597522736f;
    p = p * t + 0.09468254446983337f;
    p = p * t + 0.12192057073116302f;
    p = p * t + 0.11948765814304352f;
    p = p * t + 7.170369826781098e-06f;
    vf tail = p * *e;
    return x > 0.0f ? 1.0f - tail : tail;
}
