// libzip.
#include <zip.h>
