// CKernels: what BLAS does not do, and the thread pool.
//
// Every kernel is a pure function over pointers: it neither allocates nor aborts, runs on the calling thread, and
// works on a range, so that the caller decides how the work is split. Names: ck_<op>_<pass>_<dtype>[_<variant>].
// The variant `ref` is the plain loop that the others are tested against.
//
// Letters: N images, H x W input pixels, OH x OW output pixels, C input channels, O output channels,
// KH x KW kernel taps. Arrays are dense and row-major; activations are [N, H, W, C].
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ck_setting.h"
#include "ck_level.h"
#include "ck_pool.h"
#include "ck_elementwise.h"
#include "ck_reduce.h"
#include "ck_norm.h"
#include "ck_conv.h"
#include "ck_pooling.h"
#include "ck_layout.h"
#include "ck_memory.h"
#include "ck_fused.h"
#include "ck_packed.h"
#include "ck_winograd.h"
#include "ck_depthwise.h"
#include "ck_attention.h"
#include "ck_grouped.h"
#include "ck_optimizer.h"
#include "ck_weight_gradient.h"

#endif
