#ifndef CK_INTEGERS_H
#define CK_INTEGERS_H

#include <stdint.h>

static inline int64_t ck_least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ck_most(int64_t a, int64_t b) { return a > b ? a : b; }

// The least multiple of `step` that is not below `value`.
static inline int64_t ck_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

#endif
