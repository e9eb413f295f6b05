// LAPACKE: the C interface to LAPACK.
#include <lapacke.h>
