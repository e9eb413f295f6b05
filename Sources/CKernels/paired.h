// Sums whose terms are multiplied in pairs, in Winograd's way (S. Winograd, "A new algorithm for inner product", 1968):
//
//     x0 w0 + x1 w1 = (x0 + w1) (x1 + w0) - x0 x1 - w0 w1
//
// The last two products are sums over a row and over an output channel, computed once; what is left is one multiplication
// and two additions for two terms. That saves nothing by itself, but on cores that add with other units than they multiply
// with (AMD's from Zen 3 on) a third term's multiply-add costs no time beside a pair's additions: three terms in the time of
// two. One thread of a Zen 4, whose multiply-adds alone reach 118 GFLOP/s, reaches 165 to 175.
//
// Terms come in triples: a pair and one that is multiplied directly.
//
// Every second triple is subtracted,
//
//     x0 w0 + x1 w1 = x0 x1 + w0 w1 - (w1 - x0) (w0 - x1)
//
// so that the sums of x0 x1, which would all be positive behind a ReLU, do not grow far beyond the result: what they
// are rounded by would be in it. For the same reason, each row of inputs and each output's weights are multiplied by a
// power of two that brings their mean absolute value to 1 ... 2: a pair's error is relative to the larger of its two. So
// errors are about 1.5 times those of direct products (3e-7 of the results' norm with 384 terms), relative to the
// norms of the row and of the weights; with pixels as triples (paired_kernels.h), to those of a tile's rows together. A row of
// zeros, or there a tile of them, gives exactly the bias; a row with an infinity may give a NaN.

// A triple: sum + c x2 + (b + x0) (a + x1), or - (b - x0) (a - x1). Its inputs come straight from memory, and in this order,
// so that the weights, the sums of 12 rows and two more vectors are all there is: an input that is first brought to a register
// takes the place of an addition or multiplication (95 GFLOP/s instead of 170), as does a sum for which there is no register.
#undef PAIRED_ADD
#undef PAIRED_SUBTRACT
#if defined(CK_EMULATE_AVX512)
#define PAIRED_ADD(sum, a, b, c, x0, x1, x2) sum = ((b) + v_splat(x0)) * ((a) + v_splat(x1)) + (c)*v_splat(x2) + sum
#define PAIRED_SUBTRACT(sum, a, b, c, x0, x1, x2) sum = (c)*v_splat(x2) - ((b)-v_splat(x0)) * ((a)-v_splat(x1)) + sum
#else
#define PAIRED_ADD(sum, a, b, c, x0, x1, x2) PAIRED_ASSEMBLY("vaddps", "vfmadd231ps", sum, a, b, c, x0, x1, x2)
#define PAIRED_SUBTRACT(sum, a, b, c, x0, x1, x2) PAIRED_ASSEMBLY("vsubps", "vfnmadd231ps", sum, a, b, c, x0, x1, x2)
#undef PAIRED_ASSEMBLY
#define PAIRED_ASSEMBLY(add, multiply, sum, a, b, c, x0, x1, x2)                  \
    do {                                                                          \
        vf first, second;                                                         \
        __asm__(add " %6%{1to16%}, %4, %1\n\t" add " %7%{1to16%}, %3, %2\n\t"      \
                "vfmadd231ps %8%{1to16%}, %5, %0\n\t" multiply " %1, %2, %0"      \
                : "+v"(sum), "=&v"(first), "=&v"(second)                          \
                : "v"(a), "v"(b), "v"(c), "m"(x0), "m"(x1), "m"(x2));             \
    } while (0)
#endif

// The weights of a triple, `vectors` of them each, from w on, times the inputs INPUT(row, 0), (row, 1) and (row, 2) of all rows;
// `next_step` floats for each triple come to the second-level cache meanwhile. In a function with these names, of which rows and
// vectors are constants.
#undef PAIRED_TRIPLE
#define PAIRED_TRIPLE(SUM, INPUT)                                                                           \
    do {                                                                                                    \
        vf a[2], b[2], c[2];                                                                                \
        UNROLL for (int v = 0; v < vectors; v++) {                                                          \
            a[v] = v_load(w + v * CK_VL);                                                                   \
            b[v] = v_load(w + (vectors + v) * CK_VL);                                                       \
            c[v] = v_load(w + (2 * vectors + v) * CK_VL);                                                   \
        }                                                                                                   \
        UNROLL for (int i = 0; i < rows; i++)                                                               \
            UNROLL for (int v = 0; v < vectors; v++)                                                        \
                SUM(sum[i][v], a[v], b[v], c[v], INPUT(i, 0), INPUT(i, 1), INPUT(i, 2));                    \
        w += 3 * vectors * CK_VL;                                                                           \
        for (int64_t line = 0; line < next_step; line += 16) __builtin_prefetch(next + line, 0, 2);         \
        next += next_step;                                                                                  \
    } while (0)

// The sums of the lanes of 16 vectors: lane i that of vector i. Halves of two vectors, quarters of four, and so on come together.
#define lane_sums CK_NAME(lane_sums)
CK_INLINE vf lane_sums(const vf x[16]) {
    vf halves[8], quarters[4], pairs[2];
    // So that all come out in order.
    UNROLL for (int i = 0; i < 8; i++) {
        const vf a = x[i / 2 + i % 2 * 8], b = x[i / 2 + i % 2 * 8 + 4];
        halves[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                    __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        const vf a = halves[2 * i], b = halves[2 * i + 1];
        quarters[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
                      __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        const vf a = quarters[2 * i], b = quarters[2 * i + 1];
        pairs[i] = __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
                   __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
    return __builtin_shufflevector(pairs[0], pairs[1], 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) +
           __builtin_shufflevector(pairs[0], pairs[1], 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
}

// The powers of two of which means of absolute values are 1 to 2 times, as far as these have inverses; of 0, 1.
#define paired_powers CK_NAME(paired_powers)
CK_INLINE vf paired_powers(vf means) {
    const vi exponents = (vi)means & 0x7f800000, least = exponents < 1 << 23 ? (vi)(1 << 23) : exponents;
    const vi powers = least > 253 << 23 ? (vi)(253 << 23) : least;
    return (vf)(means == 0 ? (vi)(127 << 23) : powers);
}

// Their inverses.
#define paired_factors CK_NAME(paired_factors)
CK_INLINE vf paired_factors(vf powers) { return (vf)((254 << 23) - (vi)powers); }

// Times a power of two, which `change` adds to the exponent: also where arithmetic takes numbers with fewer bits for 0, these
// stay as they are.
#define scale_exactly CK_NAME(scale_exactly)
CK_INLINE vf scale_exactly(vf x, vi change) {
    const vi exponent = (vi)x & 0x7f800000;
    return (vf)((vi)x + (exponent != 0 & exponent != 0x7f800000 & change));
}
