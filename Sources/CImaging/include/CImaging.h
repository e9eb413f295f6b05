// What Imaging needs in C: libjpeg and libpng behind setjmp, and the inner loops of resizing.
//
// No function aborts or prints; none keeps state between calls, so every one may run on several threads at once.
#ifndef CIMAGING_H
#define CIMAGING_H

#include <stdint.h>

#include "ci_codec.h"
#include "ci_resample.h"

#endif
