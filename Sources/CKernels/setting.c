#include "ck_setting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ck_setting(const char *name, const char *const *words, int count) {
    const char *value = getenv(name);
    if (!value || !*value) return -1;
    for (int i = 0; i < count; i++)
        if (strcmp(value, words[i]) == 0) return i;
    char list[256] = "";
    for (int i = 0; i < count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i == 0 ? "" : ", ", words[i]);
    fprintf(stderr, "recognite: %s=%s is ignored; it may be: %s\n", name, value, list);
    return -1;
}

int64_t ck_setting_number(const char *name, int64_t most) {
    const char *value = getenv(name);
    if (!value || !*value) return 0;
    char *end;
    const long long number = strtoll(value, &end, 10);
    if (!*end && number >= 0 && number <= most) return number;
    fprintf(stderr, "recognite: %s=%s is ignored; it may be a number from 0 to %lld\n", name, value, (long long)most);
    return 0;
}
