// How many processors this process may use.
#define _GNU_SOURCE
#include "processors.h"

#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <stdio.h>
#include <string.h>

static int64_t affinity(void) {
    // The kernel refuses a mask that is smaller than its own; machines beyond 1024 processors need a larger one.
    for (int capacity = 1024; capacity <= 65536; capacity *= 8) {
        cpu_set_t *set = CPU_ALLOC((size_t)capacity);
        if (!set) break;
        size_t size = CPU_ALLOC_SIZE((size_t)capacity);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;
    }
    return 0;
}

// The first number in a file, 0 if there is none ("max") or no file; the second goes to `period`, if there is one.
static long long read_quota(const char *path, long long *period) {
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    long long quota = 0;
    if (fscanf(file, "%lld %lld", &quota, period) < 1) quota = 0;
    fclose(file);
    return quota;
}

// The smallest quota, in processors rounded up, of the group `path` below `mount` and of its ancestors; 0 for none.
// Groups that a container cannot see are missing files.
static int64_t quota_along(const char *mount, const char *path, int version) {
    char group[1024], file[2048];
    int64_t smallest = 0;
    snprintf(group, sizeof group, "%s", path);
    for (;;) {
        long long quota, period = 0;
        if (version == 2) {
            snprintf(file, sizeof file, "%s%s/cpu.max", mount, group);
            quota = read_quota(file, &period);
        } else {
            long long unused;
            snprintf(file, sizeof file, "%s%s/cpu.cfs_quota_us", mount, group);
            quota = read_quota(file, &unused);
            snprintf(file, sizeof file, "%s%s/cpu.cfs_period_us", mount, group);
            period = read_quota(file, &unused);
        }
        if (quota > 0 && period > 0) {
            int64_t processors = (quota + period - 1) / period;
            if (smallest == 0 || processors < smallest) smallest = processors;
        }
        char *slash = strrchr(group, '/');
        if (!slash) return smallest;
        *slash = 0;
    }
}

static int64_t control_group_quota(void) {
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return 0;
    int64_t smallest = 0;
    char line[1200];
    while (fgets(line, sizeof line, file)) {
        // number:controllers:/path
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        controllers++;
        int64_t quota = 0;
        if (*controllers == 0)
            quota = quota_along("/sys/fs/cgroup", path, 2);
        else if (strcmp(controllers, "cpu") == 0 || strncmp(controllers, "cpu,", 4) == 0 || strstr(controllers, ",cpu,") ||
                 (strlen(controllers) > 4 && strcmp(controllers + strlen(controllers) - 4, ",cpu") == 0))
            quota = quota_along("/sys/fs/cgroup/cpu", path, 1);
        if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
    }
    fclose(file);
    return smallest;
}

int64_t ck_processors(void) {
    int64_t processors = affinity(), quota = control_group_quota();
    if (processors == 0) processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (quota > 0 && quota < processors) processors = quota;
    return processors < 1 ? 1 : processors;
}

#else

int64_t ck_processors(void) {
    int64_t processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors;
}

#endif
