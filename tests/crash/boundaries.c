/* Kills this process at one of the places where something of it becomes lasting, or leaves it.
 *
 * Loaded before libc (LD_PRELOAD). An *effect* is a call that changes a file beneath one directory, that flushes it, or
 * that sends on a socket. `boundaries_arm` says at which effect from now on the process ends, and where in it: before,
 * half way (a torn write), after. It may take the power away as well: then the file system beneath the directory, which
 * must be a mount of its own, loses everything that was not flushed, in the same moment.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHUTDOWN_REQUEST 0x8004587d /* FS_IOC_SHUTDOWN, ext4 and xfs */
#define WITHOUT_FLUSHING 2u

enum { BEFORE = 0, TORN = 1, AFTER = 2 };

static atomic_long left;   /* effects until the end; 0: not armed */
static atomic_long passed; /* effects so far */
static int place, power, deaf, counts_sends;
static char directory[4096];
static size_t directory_length;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Arms. `nth` counts from 1, 0 only counts; `where` is BEFORE, TORN or AFTER; `sends` counts too; `cut` takes the power away;
 * `lying` makes every flush return at once without having done anything, as a disk does that lies. */
void boundaries_arm(const char *beneath, long nth, int where, int sends, int cut, int lying) {
    directory_length = strlen(beneath);
    if (directory_length >= sizeof directory) return;
    memcpy(directory, beneath, directory_length + 1);
    place = where, counts_sends = sends, power = cut, deaf = lying;
    atomic_store(&passed, 0);
    atomic_store(&left, nth);
}

long boundaries_passed(void) { return atomic_load(&passed); }

static int beneath(const char *path) {
    return directory_length && !strncmp(path, directory, directory_length) && (path[directory_length] == '/' || !path[directory_length]);
}

static int is_watched(int descriptor) {
    if (!directory_length) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return beneath(path);
}

static void end(void) {
    if (power) {
        unsigned how = WITHOUT_FLUSHING;
        int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root < 0 || ioctl(root, SHUTDOWN_REQUEST, &how) < 0) perror("the power could not be cut");
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Tells whether the effect that begins now is the last one; ends before it when that was asked for. */
static int is_last(int counts) {
    if (!counts) return 0;
    atomic_fetch_add(&passed, 1);
    if (atomic_load(&left) <= 0 || atomic_fetch_sub(&left, 1) != 1) return 0;
    if (place == BEFORE) end();
    return 1;
}

#define LASTING(counts, torn, whole) \
    do { \
        int last = is_last(counts); \
        if (last && place == TORN) { torn; end(); } \
        __auto_type result = (whole); \
        if (last) end(); \
        return result; \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t size) {
    LASTING(is_watched(fd), REAL(write)(fd, bytes, size / 2), REAL(write)(fd, bytes, size));
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    LASTING(is_watched(fd), REAL(pwrite)(fd, bytes, size / 2, at), REAL(pwrite)(fd, bytes, size, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    LASTING(is_watched(fd), REAL(pwrite64)(fd, bytes, size / 2, at), REAL(pwrite64)(fd, bytes, size, at));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    LASTING(is_watched(fd), REAL(pwritev)(fd, parts, 1, at), REAL(pwritev)(fd, parts, count, at));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    LASTING(is_watched(fd), REAL(pwritev64)(fd, parts, 1, at), REAL(pwritev64)(fd, parts, count, at));
}

int ftruncate(int fd, off_t size) { LASTING(is_watched(fd), (void)0, REAL(ftruncate)(fd, size)); }

int ftruncate64(int fd, off64_t size) { LASTING(is_watched(fd), (void)0, REAL(ftruncate64)(fd, size)); }

int fsync(int fd) { LASTING(is_watched(fd), (void)0, deaf && is_watched(fd) ? 0 : REAL(fsync)(fd)); }

int fdatasync(int fd) { LASTING(is_watched(fd), (void)0, deaf && is_watched(fd) ? 0 : REAL(fdatasync)(fd)); }

int rename(const char *from, const char *to) { LASTING(beneath(to), (void)0, REAL(rename)(from, to)); }

int unlink(const char *path) { LASTING(beneath(path), (void)0, REAL(unlink)(path)); }

int mkdir(const char *path, mode_t mode) { LASTING(beneath(path), (void)0, REAL(mkdir)(path, mode)); }

ssize_t send(int fd, const void *bytes, size_t size, int flags) {
    LASTING(counts_sends, REAL(send)(fd, bytes, size / 2, flags), REAL(send)(fd, bytes, size, flags));
}
