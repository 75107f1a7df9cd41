/* Counts what a process asks of its kernel and of its allocator, and for how many bytes.
 *
 * Loaded by LD_PRELOAD in front of the C library, whose functions it calls. The counters lie in a file
 * that COUNT_CALLS names, so that whoever started the process can look at them while it runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* In the order in which system_calls.rs reads them. */
enum { READS, WRITES, WAITS, OTHERS, BYTES_READ, BYTES_WRITTEN, ALLOCATIONS, COUNTERS };

static uint64_t unseen[COUNTERS];
static uint64_t *counters = unseen;

static void add(int counter, int64_t count) {
    if (count > 0) __atomic_fetch_add(&counters[counter], (uint64_t)count, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void share_counters(void) {
    const char *path = getenv("COUNT_CALLS");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0) return;
    void *place = mmap(NULL, sizeof unseen, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place != MAP_FAILED) counters = place;
}

/* DEFINE(counter, bytes counter or -1, type, name, parameters, arguments) */
#define DEFINE(counter, bytes, type, name, parameters, arguments) \
    type name parameters { \
        static type(*next) parameters; \
        if (!next) next = dlsym(RTLD_NEXT, #name); \
        add(counter, 1); \
        type result = next arguments; \
        if (bytes >= 0) add(bytes, (int64_t)result); \
        return result; \
    }

DEFINE(READS, BYTES_READ, ssize_t, read, (int f, void *b, size_t n), (f, b, n))
DEFINE(READS, BYTES_READ, ssize_t, readv, (int f, const struct iovec *v, int n), (f, v, n))
DEFINE(READS, BYTES_READ, ssize_t, recv, (int f, void *b, size_t n, int o), (f, b, n, o))
DEFINE(READS, BYTES_READ, ssize_t, recvmsg, (int f, struct msghdr *m, int o), (f, m, o))
DEFINE(READS, BYTES_READ, ssize_t, recvfrom,
       (int f, void *b, size_t n, int o, struct sockaddr *a, socklen_t *l), (f, b, n, o, a, l))
DEFINE(WRITES, BYTES_WRITTEN, ssize_t, write, (int f, const void *b, size_t n), (f, b, n))
DEFINE(WRITES, BYTES_WRITTEN, ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n))
DEFINE(WRITES, BYTES_WRITTEN, ssize_t, send, (int f, const void *b, size_t n, int o), (f, b, n, o))
DEFINE(WRITES, BYTES_WRITTEN, ssize_t, sendmsg, (int f, const struct msghdr *m, int o), (f, m, o))
DEFINE(WRITES, BYTES_WRITTEN, ssize_t, sendto,
       (int f, const void *b, size_t n, int o, const struct sockaddr *a, socklen_t l),
       (f, b, n, o, a, l))
DEFINE(WAITS, -1, int, epoll_wait, (int f, struct epoll_event *e, int n, int t), (f, e, n, t))
DEFINE(WAITS, -1, int, epoll_pwait,
       (int f, struct epoll_event *e, int n, int t, const sigset_t *s), (f, e, n, t, s))
DEFINE(WAITS, -1, int, poll, (struct pollfd *p, nfds_t n, int t), (p, n, t))
DEFINE(OTHERS, -1, int, epoll_ctl, (int f, int o, int g, struct epoll_event *e), (f, o, g, e))
DEFINE(OTHERS, -1, int, sched_yield, (void), ())

/* What has no function of its own: of a futex for example. */
long syscall(long number, ...) {
    static long (*next)(long, ...);
    if (!next) next = dlsym(RTLD_NEXT, "syscall");
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    add(OTHERS, 1);
    return next(number, a, b, c, d, e, f);
}

/* The C library's own names of these: looking for the next ones would allocate. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *place, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    add(ALLOCATIONS, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    add(ALLOCATIONS, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *place, size_t size) {
    add(ALLOCATIONS, 1);
    return __libc_realloc(place, size);
}

int posix_memalign(void **place, size_t alignment, size_t size) {
    add(ALLOCATIONS, 1);
    *place = __libc_memalign(alignment, size);
    return *place ? 0 : 12;
}
