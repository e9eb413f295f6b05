#ifndef CK_PROCESSORS_H
#define CK_PROCESSORS_H

#include <stdint.h>

// The processors that this process may use: its affinity mask, cut by its control group's quota; at least 1.
int64_t ck_processors(void);

#endif
