// exp and what is made from it, for vectors of the level that is being compiled. Include it in a family of kernels,
// after vector.h.
#define v_exp CK_NAME(ck_v_exp)
#define v_exp_scaled CK_NAME(ck_v_exp_scaled)
#define v_exp_bounded CK_NAME(ck_v_exp_bounded)
#define v_sigmoid CK_NAME(ck_v_sigmoid)
#define v_silu CK_NAME(ck_v_silu)
#define v_tanh CK_NAME(ck_v_tanh)
#define v_normal_cdf CK_NAME(ck_v_normal_cdf)
#define v_gelu CK_NAME(ck_v_gelu)

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
#elif CK_VL == 8
// 2^(i / 8)
static const float CK_NAME(ck_powers)[8] = {
    1.0f, 1.090507733f, 1.189207115f, 1.296839555f, 1.414213562f, 1.542210825f, 1.681792831f, 1.834008086f,
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
#elif CK_VL == 8
    // The same with eighths: one register of powers, three terms, and the exponent in the high bits of 8 n.
    const float magic = 0x1.8p20f, factor = -1.44269504f;
    const vf y = v_max(v_splat(-87.3f), v_min(v_splat(87.3f), x));
    const vf sum = y * factor + magic;
    const vf r = y * factor - (sum - magic);
    const vf power = (vf)_mm256_permutevar8x32_ps((__m256)v_load(CK_NAME(ck_powers)), (__m256i)sum);
    const vf p = ((0.05550411f * r + 0.24026408f) * r + 0.69314718f) * (power * r) + power;
    return x / (1.0f + (vf)((vi)p + ((vi)sum << 20 & (int32_t)0xff800000)));
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

#if CK_VL == 16 && !defined(CK_EMULATE_AVX512)
// Around t = i / 5.625, i = 0 ... 31, t (1 - Phi(t)) as a polynomial in r = 5.625 t - i, |r| <= 1/2: its terms, the constant first.
// Interpolated at Chebyshev's nodes (for i = 0, where r >= 0, divided by r), with an error below 9e-9.
static const float CK_NAME(ck_gelu_terms)[5][32] = {
    {0.0f, 0.0763464421f, 0.128386393f, 0.158347428f, 0.169605464f, 0.166250139f, 0.152598605f, 0.13274242f,
     0.110195018f, 0.0876788646f, 0.0670580938f, 0.0493949205f, 0.0350905508f, 0.0240664296f, 0.0159466844f,
     0.0102143483f, 0.00632731616f, 0.00379177462f, 0.00219884142f, 0.00123414048f, 0.000670544396f,
     0.000352729519f, 0.000179661758f, 8.86152993e-05f, 4.23285928e-05f, 1.95820612e-05f, 8.77415641e-06f,
     3.80797519e-06f, 1.60081447e-06f, 6.51868561e-07f, 2.57136179e-07f, 9.82563648e-08f},
    {0.088888891f, 0.0639356151f, 0.0405208021f, 0.0199715197f, 0.00323463837f, -0.00921791233f, -0.0173971355f,
     -0.0217260271f, -0.0229139403f, -0.0218087379f, -0.0192582719f, -0.0160043873f, -0.012620612f,
     -0.00949296262f, -0.00683466299f, -0.00472159358f, -0.00313537056f, -0.00200399687f, -0.00123412115f,
     -0.000732858083f, -0.000419915275f, -0.000232278369f, -0.000124092796f, -6.40514845e-05f, -3.19511273e-05f,
     -1.54073314e-05f, -7.18367846e-06f, -3.23910967e-06f, -1.41264843e-06f, -5.9598284e-07f, -2.43264424e-07f,
     -9.60763558e-08f},
    {-0.0126085561f, -0.0122147379f, -0.0110880574f, -0.00938152429f, -0.00731597422f, -0.00513810758f,
     -0.00307743927f, -0.00131181988f, 5.20848771e-05f, 0.000981578603f, 0.00150655513f, 0.00169938954f,
     0.00165235507f, 0.00145783368f, 0.00119450886f, 0.000920434017f, 0.000672056165f, 0.000467275095f,
     0.000310437928f, 0.000197551461f, 0.000120638797f, 7.07958752e-05f, 3.99691598e-05f, 2.17282432e-05f,
     1.1382087e-05f, 5.74880278e-06f, 2.80097652e-06f, 1.31705178e-06f, 5.97882149e-07f, 2.62110262e-07f,
     1.11000915e-07f, 4.54199736e-08f},
    {8.84284361e-08f, 0.000258861081f, 0.000481991301f, 0.000640891434f, 0.000719624106f, 0.000716952316f,
     0.000644985528f, 0.000525043986f, 0.000382135244f, 0.000239614033f, 0.000115272371f, 1.94817712e-05f,
     -4.46675003e-05f, -7.97854736e-05f, -9.19307204e-05f, -8.83996545e-05f, -7.60332478e-05f, -6.02299151e-05f,
     -4.46157246e-05f, -3.11848053e-05f, -2.06871991e-05f, -1.30766712e-05f, -7.89909882e-06f, -4.56956786e-06f,
     -2.53575627e-06f, -1.35157643e-06f, -6.92675599e-07f, -3.4162386e-07f, -1.62257678e-07f, -7.4261159e-08f,
     -3.2767197e-08f, -1.39453169e-08f},
    {6.61991871e-05f, 6.16865e-05f, 4.87424222e-05f, 3.00760312e-05f, 9.24807955e-06f, -1.00928928e-05f,
     -2.50337562e-05f, -3.39372273e-05f, -3.65882406e-05f, -3.39697071e-05f, -2.7796932e-05f, -1.99847109e-05f,
     -1.22016727e-05f, -5.60344279e-06f, -7.61329488e-07f, 2.25558097e-06f, 3.71550368e-06f, 4.0452428e-06f,
     3.68568249e-06f, 3.00240822e-06f, 2.24984228e-06f, 1.57430964e-06f, 1.03798607e-06f, 6.48639855e-07f,
     3.85738304e-07f, 2.18948458e-07f, 1.18882411e-07f, 6.18542586e-08f, 3.08811501e-08f, 1.48105705e-08f,
     6.8297088e-09f, 3.03051961e-09f},
};
#elif CK_VL == 8
// The same around t = i / 1.25, i = 0 ... 7, in r = 1.25 t - i, with an error below 2.3e-8.
static const float CK_NAME(ck_gelu_terms)[8][8] = {
    {0.0f, 0.16948432f, 0.087678865f, 0.019674085f, 0.0021988417f, 0.00012668502f, 3.8079572e-06f, 6.001623e-08f},
    {0.4f, -0.015918273f, -0.098139234f, -0.03643947f, -0.005553555f, -0.00040291974f, -1.45767235e-05f, -2.684066e-07f},
    {-0.25532308f, -0.12607418f, 0.019876938f, 0.026945267f, 0.0062863193f, 0.0005995526f, 2.6672928e-05f, 5.811611e-07f},
    {1.0618458e-06f, 0.06644818f, 0.021808026f, -0.008072098f, -0.004062336f, -0.000548165f, -3.0893592e-05f,
     -8.084326e-07f},
    {0.027221642f, -0.00033962113f, -0.013943453f, -0.0012043786f, 0.001513591f, 0.00033817327f, 2.5209161e-05f,
     8.04482e-07f},
    {7.396623e-05f, -0.0071929735f, 0.00174569f, 0.0017886306f, -0.00021281253f, -0.00014332696f, -1.5332138e-05f,
     -6.188661e-07f},
    {-0.0028349934f, 0.0008260674f, 0.000979115f, -0.0005001427f, -9.233579e-05f, 3.8023616e-05f, 7.3530887e-06f,
     4.1253801e-07f},
    {0.0003297657f, 0.0005178474f, -0.0003339097f, -1.245052e-05f, 5.5438926e-05f, -3.6364104e-06f, -2.4742553e-06f,
     -1.9430578e-07f},
};
#endif

#if CK_VL == 16 && !defined(CK_EMULATE_AVX512)
#define GELU_TERMS 5
#define GELU_SCALE 5.625f
#define GELU_LOOK_UP(t, i) (vf)_mm512_permutex2var_ps((__m512)v_load(t), (__m512i)(i), (__m512)v_load((t) + 16))
#elif CK_VL == 8
#define GELU_TERMS 8
#define GELU_SCALE 1.25f
#define GELU_LOOK_UP(t, i) (vf)_mm256_permutevar8x32_ps((__m256)v_load(t), (__m256i)(i))
#endif

// x Phi(x), Phi the distribution function of the normal distribution.
CK_INLINE vf v_gelu(vf x) {
#ifdef GELU_TERMS
    // max(0, x) - |x| (1 - Phi(|x|)): nothing cancels, and one of 32 or 8 polynomials, looked up by the low bits of `sum`,
    // takes less than half of an exponential function and a division.
    const float magic = 0x1.8p23f;
    const vf t = v_min(v_splat(5.598f), v_abs(x));
    const vf sum = t * GELU_SCALE + magic;
    const vf r = t * GELU_SCALE - (sum - magic);
    vf p = GELU_LOOK_UP(CK_NAME(ck_gelu_terms)[GELU_TERMS - 1], sum);
    UNROLL for (int k = GELU_TERMS - 2; k >= 0; k--) p = p * r + GELU_LOOK_UP(CK_NAME(ck_gelu_terms)[k], sum);
    return v_max(v_splat(0), x) - p;
#else
    vf density;
    return x * v_normal_cdf(x, &density);
#endif
}

#undef GELU_TERMS
#undef GELU_SCALE
#undef GELU_LOOK_UP
