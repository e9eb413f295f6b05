// The C library's memory.
#ifndef CK_MEMORY_H
#define CK_MEMORY_H

// Returns pages that were freed, but that the C library keeps for itself, to the system, where it has a way to.
void ck_return_free_memory(void);

#endif
