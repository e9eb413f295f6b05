// Times the convolution kernels of inference on shapes of your choice, one beside the other.
//
//     clang -O2 -fno-omit-frame-pointer -ISources/CKernels/include Tools/benchmark_kernels.c Sources/CKernels/*.c -lpthread -lm \
//         -o benchmark_kernels
//     RECOGNITE_NUM_THREADS=2 ./benchmark_kernels packed,paired,winograd 1x28x28x128:128:3 1x14x14x512:1024
//
// A shape is NxHxWxC:O[:kernel[:stride[:groups]]], with half of the kernel as padding. For each kernel that computes it, the
// least time of many runs, GFLOP/s counted as direct multiply-adds, and how far the result is from the first kernel's
// (root mean square, relative). RECOGNITE_LEVEL and RECOGNITE_CORES choose as for the library.
//
//     --far weights,x,y   these come from main memory: each run has others
//     --residual          a residual is added before the ReLU
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "CKernels.h"

typedef struct {
    const char *name;
    ck_weight_layout layout;  // of packed
    bool mixes_rows;
} kernel;

static const kernel kernels[] = {
    {"packed", CK_WEIGHTS_VECTORS, false}, {"strassen", CK_WEIGHTS_VECTORS, true}, {"paired", CK_WEIGHTS_PAIRED, true},
    {"amx", CK_WEIGHTS_AMX, false},        {"winograd", CK_WEIGHTS_ANY, false},    {"grouped", CK_WEIGHTS_ANY, false},
    {"depthwise", CK_WEIGHTS_ANY, false},
};
enum { PACKED, STRASSEN, PAIRED, AMX, WINOGRAD, GROUPED, DEPTHWISE, KERNELS };

// A prepared kernel; of the conversions only one is used.
typedef struct {
    int kind;
    ck_packed_conv packed;
    ck_winograd_conv winograd;
    ck_grouped_conv grouped;
    ck_depthwise_conv depthwise;
    int64_t units, scratch, weights;
    ck_operands operands;
    float *memory;  // `scratch` floats for each chunk
} job;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// Between -0.5 and 0.5, always the same ones.
static float *numbers(int64_t count) {
    float *p = aligned_alloc(64, (size_t)(count * 4 + 127) / 64 * 64);
    if (!p) {
        fprintf(stderr, "no memory for %lld numbers\n", (long long)count);
        exit(1);
    }
    uint64_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (float)(state >> 40) / (float)(1 << 24) - 0.5f;
    }
    return p;
}

// Whether the kernel computes the shape.
static bool prepare(job *j, const ck_conv2d_shape *s, bool adds) {
    const ck_strides strides = {.x = s->c, .y = s->o, .residual = s->o};
    const ck_epilogue epilogue = {.activation = CK_RELU, .combine = adds ? CK_COMBINE_ADD_BEFORE : CK_COMBINE_NONE};
    const int64_t threads = ck_pool_threads();
    const bool is_depthwise = s->groups == s->c && s->o == s->c;
    switch (j->kind) {
    case WINOGRAD:
        j->winograd = (ck_winograd_conv){.shape = *s, .strides = strides, .epilogue = epilogue};
        if (!ck_winograd_suits(s)) return false;
        ck_winograd_prepare(&j->winograd, threads);
        j->units = j->winograd.units;
        j->scratch = j->winograd.scratch;
        j->weights = ck_winograd_weights(&j->winograd);
        return true;
    case GROUPED:
        j->grouped = (ck_grouped_conv){.shape = *s, .strides = strides, .epilogue = epilogue};
        if (!ck_grouped_computes(s)) return false;
        ck_grouped_prepare(&j->grouped, threads);
        j->units = j->grouped.units;
        j->scratch = j->grouped.scratch;
        j->weights = ck_grouped_weights(&j->grouped);
        return true;
    case DEPTHWISE:
        j->depthwise = (ck_depthwise_conv){.shape = *s, .strides = strides, .epilogue = epilogue};
        if (!is_depthwise) return false;
        ck_depthwise_prepare(&j->depthwise, threads);
        j->units = j->depthwise.units;
        j->scratch = 0;
        j->weights = ck_depthwise_weights(&j->depthwise);
        return true;
    default:
        j->packed = (ck_packed_conv){.shape = *s, .strides = strides, .epilogue = epilogue};
        j->packed.weight_layout = kernels[j->kind].layout;
        j->packed.mixes_rows = kernels[j->kind].mixes_rows;
        ck_packed_conv_prepare(&j->packed, threads);
        j->units = j->packed.units;
        j->scratch = j->packed.scratch;
        j->weights = ck_packed_conv_weights(&j->packed);
        return j->packed.strassen == (j->kind == STRASSEN) && j->packed.paired == (j->kind == PAIRED) &&
               j->packed.amx == (j->kind == AMX);
    }
}

static void pack(const job *j, const float *weight, float *packed) {
    switch (j->kind) {
    case WINOGRAD: ck_winograd_pack(&j->winograd, weight, 0, j->winograd.panels, packed); break;
    case GROUPED: ck_grouped_pack(&j->grouped, weight, packed); break;
    case DEPTHWISE: ck_depthwise_pack(&j->depthwise, weight, packed); break;
    default: ck_packed_conv_pack(&j->packed, weight, packed); break;
    }
}

static void run(void *context, int64_t begin, int64_t end, int64_t chunk) {
    const job *j = context;
    float *scratch = j->memory + chunk * j->scratch;
    switch (j->kind) {
    case WINOGRAD: ck_winograd_run(&j->winograd, &j->operands, begin, end, scratch); break;
    case GROUPED: ck_grouped_run(&j->grouped, &j->operands, begin, end, scratch); break;
    case DEPTHWISE: ck_depthwise_run(&j->depthwise, &j->operands, NULL, begin, end, scratch); break;
    default: ck_packed_conv_run(&j->packed, &j->operands, NULL, begin, end, scratch); break;
    }
}

static bool parse(const char *text, ck_conv2d_shape *s) {
    long long n, h, w, c, o, k = 1, stride = 1, groups = 1;
    if (sscanf(text, "%lldx%lldx%lldx%lld:%lld:%lld:%lld:%lld", &n, &h, &w, &c, &o, &k, &stride, &groups) < 5) return false;
    if (n < 1 || h < 1 || w < 1 || c < 1 || o < 1 || k < 1 || stride < 1 || groups < 1) return false;
    if (c % groups || o % groups) return false;
    *s = (ck_conv2d_shape){
        .n = n, .h = h, .w = w, .c = c, .o = o, .kh = k, .kw = k, .stride_h = stride, .stride_w = stride, .pad_top = k / 2,
        .pad_left = k / 2, .dilation_h = 1, .dilation_w = 1, .groups = groups};
    s->oh = (h + k / 2 * 2 - k) / stride + 1;
    s->ow = (w + k / 2 * 2 - k) / stride + 1;
    return true;
}

// So many copies that the second time one's turn comes no cache has it any more.
static int64_t copies(bool far, int64_t floats) {
    const int64_t enough = far ? (128 << 18) / floats + 2 : 1;
    return enough < 400 ? enough : 400;
}

static void measure(const char *text, const bool *wanted, bool far_weights, bool far_x, bool far_y, bool adds) {
    ck_conv2d_shape s;
    if (!parse(text, &s)) {
        fprintf(stderr, "%s is no shape: NxHxWxC:O[:kernel[:stride[:groups]]]\n", text);
        exit(2);
    }
    const int64_t inputs = s.n * s.h * s.w * s.c, outputs = s.n * s.oh * s.ow * s.o;
    const int64_t weights = s.o * s.kh * s.kw * (s.c / s.groups);
    const int64_t x_copies = copies(far_x, inputs), y_copies = copies(far_y, outputs);
    float *x = numbers(inputs * x_copies), *y = numbers(outputs * y_copies), *weight = numbers(weights);
    float *bias = numbers(s.o), *residual = numbers(outputs), *first = NULL;
    printf("%s", text);
    for (int kind = 0; kind < KERNELS; kind++) {
        if (!wanted[kind]) continue;
        job *j = calloc(1, sizeof *j);
        j->kind = kind;
        if (!prepare(j, &s, adds)) {
            printf("  %s -", kernels[kind].name);
            free(j);
            continue;
        }
        const int64_t step = (j->weights + 1023) / 16 * 16, weight_copies = copies(far_weights, step);
        float *packed = numbers(step * weight_copies);
        pack(j, weight, packed);
        for (int64_t i = 1; i < weight_copies; i++) memcpy(packed + i * step, packed, (size_t)j->weights * 4);
        j->scratch = (j->scratch + 1023) / 16 * 16;
        j->memory = numbers(j->scratch * ck_pool_threads());
        double least = INFINITY;
        int64_t runs = 0;
        for (const double begin = now(); now() - begin < 0.3 || runs < 20; runs++) {
            // The same inputs each time where results are compared.
            j->operands = (ck_operands){
                .x = x + runs % x_copies * inputs, .weight = packed + runs % weight_copies * step, .bias = bias,
                .residual = adds ? residual : NULL, .y = y + runs % y_copies * outputs};
            const double start = now();
            ck_pool_run(j->units, 1, run, j);
            least = fmin(least, now() - start);
        }
        j->operands.x = x;
        j->operands.y = y;
        ck_pool_run(j->units, 1, run, j);
        double error = 0, size = 0;
        for (int64_t i = 0; first && i < outputs; i++) {
            error += (double)(y[i] - first[i]) * (double)(y[i] - first[i]);
            size += (double)first[i] * (double)first[i];
        }
        const double operations = 2.0 * (double)outputs * (double)(weights / s.o);
        printf("  %s %.1f us %.0f GFLOP/s", kernels[kind].name, least * 1e6, operations / least * 1e-9);
        if (first) printf(" %.1e", sqrt(error / size));
        if (!first) {
            first = numbers(outputs);
            memcpy(first, y, (size_t)outputs * 4);
        }
        free(packed);
        free(j->memory);
        free(j);
    }
    printf("\n");
    fflush(stdout);
    free(x);
    free(y);
    free(weight);
    free(bias);
    free(residual);
    free(first);
}

// Sets the flags whose names are in a list with commas.
static void choose(const char *list, const char *const *names, int count, bool *flags) {
    while (*list) {
        const size_t length = strcspn(list, ",");
        int found = -1;
        for (int i = 0; i < count; i++)
            if (strlen(names[i]) == length && strncmp(list, names[i], length) == 0) found = i;
        if (found < 0) {
            fprintf(stderr, "%.*s is none of", (int)length, list);
            for (int i = 0; i < count; i++) fprintf(stderr, " %s", names[i]);
            fprintf(stderr, "\n");
            exit(2);
        }
        flags[found] = true;
        list += length + (list[length] == ',');
    }
}

int main(int argc, char **argv) {
    const char *names[KERNELS];
    for (int i = 0; i < KERNELS; i++) names[i] = kernels[i].name;
    static const char *const operands[] = {"weights", "x", "y"};
    bool wanted[KERNELS] = {0}, far[3] = {0}, adds = false, has_kernels = false, has_shapes = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--residual") == 0) {
            adds = true;
        } else if (strcmp(argv[i], "--far") == 0 && i + 1 < argc) {
            choose(argv[++i], operands, 3, far);
        } else if (!has_kernels) {
            choose(argv[i], names, KERNELS, wanted);
            has_kernels = true;
        } else {
            measure(argv[i], wanted, far[0], far[1], far[2], adds);
            has_shapes = true;
        }
    }
    if (has_shapes) return 0;
    fprintf(stderr, "usage: %s [--far weights,x,y] [--residual] KERNELS SHAPE...\n", argv[0]);
    return 2;
}
