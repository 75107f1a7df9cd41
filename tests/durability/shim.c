/* Lets the broker's files fail: preloaded into it by the tests, told what to do by a shared page.
 *
 * Only files below STORE_SHIM_FOLDER are touched. The page is the file STORE_SHIM_CONTROL, in
 * numbers of 64 bits as in `struct page`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FAIL_WRITE = 1, FAIL_SYNC = 2, TORN = 4, FAIL_OPEN = 8 };

struct page {
    uint64_t faults;      /* which calls fail */
    uint64_t error;       /* with which errno */
    uint64_t skip;        /* how many of them pass before */
    uint64_t hits;        /* how many failed */
    uint64_t syncs;       /* how many reached the disk */
    uint64_t sync_nanos;  /* how long they took together */
    uint64_t sync_nanos_max;
};

static struct page *page;
static char folder[4096];
static size_t folder_length;

static int (*next_fsync)(int);
static int (*next_fdatasync)(int);
static ssize_t (*next_write)(int, const void *, size_t);
static ssize_t (*next_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*next_writev)(int, const struct iovec *, int);
static int (*next_open)(const char *, int, ...);
static int (*next_openat)(int, const char *, int, ...);
static int (*next_ftruncate)(int, off_t);

__attribute__((constructor)) static void start(void)
{
    next_fsync = dlsym(RTLD_NEXT, "fsync");
    next_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    next_write = dlsym(RTLD_NEXT, "write");
    next_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    next_writev = dlsym(RTLD_NEXT, "writev");
    next_open = dlsym(RTLD_NEXT, "open64");
    next_openat = dlsym(RTLD_NEXT, "openat64");
    next_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    const char *control = getenv("STORE_SHIM_CONTROL");
    const char *below = getenv("STORE_SHIM_FOLDER");
    if (!control || !below || strlen(below) >= sizeof folder)
        return;
    strcpy(folder, below);
    folder_length = strlen(folder);
    int file = next_open(control, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        page = mapped;
}

static uint64_t load(uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_SEQ_CST);
}

static int is_below(const char *path)
{
    return strncmp(path, folder, folder_length) == 0;
}

static int is_ours(int file)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_below(path);
}

/* Whether this call is to fail; errno is set then. */
static int strikes(void)
{
    uint64_t left = load(&page->skip);
    while (left > 0) {
        if (__atomic_compare_exchange_n(&page->skip, &left, left - 1, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return 0;
    }
    __atomic_add_fetch(&page->hits, 1, __ATOMIC_SEQ_CST);
    errno = (int)load(&page->error);
    return 1;
}

static int fails(int kind, int file)
{
    return page && (load(&page->faults) & kind) && is_ours(file) && strikes();
}

static int fails_to_open(const char *path, int flags)
{
    return page && (flags & O_CREAT) && (load(&page->faults) & FAIL_OPEN) && is_below(path)
        && strikes();
}

/* A disk that is full takes a part before it refuses the rest. */
static int is_torn(size_t length)
{
    return (load(&page->faults) & TORN) && length > 1;
}

static int timed(int (*sync)(int), int file)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    int result = sync(file);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (page && result == 0) {
        uint64_t nanos = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u
            + (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
        __atomic_add_fetch(&page->syncs, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&page->sync_nanos, nanos, __ATOMIC_SEQ_CST);
        if (nanos > load(&page->sync_nanos_max))
            __atomic_store_n(&page->sync_nanos_max, nanos, __ATOMIC_SEQ_CST);
    }
    return result;
}

int fsync(int file)
{
    return fails(FAIL_SYNC, file) ? -1 : timed(next_fsync, file);
}

int fdatasync(int file)
{
    return fails(FAIL_SYNC, file) ? -1 : timed(next_fdatasync, file);
}

ssize_t write(int file, const void *bytes, size_t length)
{
    if (fails(FAIL_WRITE, file)) {
        if (is_torn(length))
            next_write(file, bytes, length / 2);
        return -1;
    }
    return next_write(file, bytes, length);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at)
{
    if (fails(FAIL_WRITE, file)) {
        if (is_torn(length))
            next_pwrite(file, bytes, length / 2, at);
        return -1;
    }
    return next_pwrite(file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at)
{
    return pwrite64(file, bytes, length, at);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    return fails(FAIL_WRITE, file) ? -1 : next_writev(file, parts, count);
}

int ftruncate64(int file, off_t length)
{
    return fails(FAIL_WRITE, file) ? -1 : next_ftruncate(file, length);
}

int ftruncate(int file, off_t length)
{
    return ftruncate64(file, length);
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return fails_to_open(path, flags) ? -1 : next_open(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open64(path, flags, mode);
}
