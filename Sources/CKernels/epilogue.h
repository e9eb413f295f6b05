#ifndef CK_EPILOGUE_H
#define CK_EPILOGUE_H

#include "ck_fused.h"

// Whether the epilogue is no more than bounds, which may be infinite, and a residual that is added before them.
static inline bool ck_epilogue_clamps(const ck_epilogue *e, float *low, float *high) {
    const bool identity = e->activation == CK_IDENTITY;
    *low = identity ? -__builtin_inff() : 0;
    *high = e->activation == CK_RELU6 ? 6 : __builtin_inff();
    return (identity || e->activation == CK_RELU || e->activation == CK_RELU6) &&
           (e->combine == CK_COMBINE_NONE || e->combine == CK_COMBINE_ADD_BEFORE ||
            (identity && e->combine == CK_COMBINE_ADD_AFTER));
}

#endif
