// Settings from the environment. What an unset or empty variable means is its reader's; any other value that it may not have is
// ignored, and said to be so on standard error.
#ifndef CK_SETTING_H
#define CK_SETTING_H

#include <stdint.h>

// Which of `count` words the variable is, or -1.
int ck_setting(const char *name, const char *const *words, int count);

// The variable as a number from 0 to `most`; 0 where it is not one.
int64_t ck_setting_number(const char *name, int64_t most);

#endif
