// OpenBLAS: the CBLAS interface and the library's own configuration calls.
#include <cblas.h>
