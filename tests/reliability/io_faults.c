// Lets system calls on files below one folder fail: preloaded by io_faults.py.
//
// Every call of an armed operation is counted; from number `first` on, `times` of them return
// -1 with `error` in errno. Calls on files elsewhere, and on compiled Python, always pass.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, FSYNC, RENAME, TRUNCATE, LOCK, MKDIR, LINK, UNLINK, OPERATIONS };

static char root[PATH_MAX];
static long counts[OPERATIONS];
static int armed = -1, error_number;
static long first, times;

void fault_watch(const char *folder) {
    memset(counts, 0, sizeof counts);
    armed = -1;
    strncpy(root, folder, sizeof root - 1);
}

void fault_arm(int operation, int error, long from, long how_often) {
    first = from;
    times = how_often;
    error_number = error;
    armed = operation;
}

long fault_count(int operation) { return counts[operation]; }

static int below_root(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && !strstr(path, "__pycache__");
}

static int fails(int operation) {
    long number = __atomic_add_fetch(&counts[operation], 1, __ATOMIC_SEQ_CST);
    if (operation != armed || number < first || number >= first + times) return 0;
    errno = error_number;
    return 1;
}

static int path_fails(int operation, int folder, const char *path) {
    char place[2 * PATH_MAX], whole[PATH_MAX];
    if (!root[0] || !path) return 0;
    if (path[0] == '/') return below_root(path) && fails(operation);
    if (folder == AT_FDCWD) {
        if (!getcwd(whole, sizeof whole)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, sizeof whole - 1);
        if (length < 0) return 0;
        whole[length] = 0;
    }
    snprintf(place, sizeof place, "%s/%s", whole, path);
    return below_root(place) && fails(operation);
}

static int file_fails(int operation, int file) {
    char link[64], path[PATH_MAX];
    if (!root[0] || file < 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int before = errno;
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return below_root(path) && fails(operation);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments); \
    }
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT))

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        MODE \
        REAL(int, #name, const char *, int, ...); \
        return WRITES(flags) && path_fails(OPEN, AT_FDCWD, path) ? -1 : real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE \
        REAL(int, #name, int, const char *, int, ...); \
        return WRITES(flags) && path_fails(OPEN, folder, path) ? -1 \
                                                               : real(folder, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define FILE_CALL(type, operation, name, parameters, file, types, ...) \
    type name parameters { \
        REAL(type, #name, types); \
        return file_fails(operation, file) ? -1 : real(__VA_ARGS__); \
    }
#define COMMA ,
FILE_CALL(ssize_t, READ, read, (int f, void *b, size_t n), f, int COMMA void * COMMA size_t, f, b, n)
FILE_CALL(ssize_t, READ, pread, (int f, void *b, size_t n, off_t o), f,
          int COMMA void * COMMA size_t COMMA off_t, f, b, n, o)
FILE_CALL(ssize_t, READ, pread64, (int f, void *b, size_t n, off64_t o), f,
          int COMMA void * COMMA size_t COMMA off64_t, f, b, n, o)
FILE_CALL(ssize_t, WRITE, write, (int f, const void *b, size_t n), f,
          int COMMA const void * COMMA size_t, f, b, n)
FILE_CALL(ssize_t, WRITE, pwrite, (int f, const void *b, size_t n, off_t o), f,
          int COMMA const void * COMMA size_t COMMA off_t, f, b, n, o)
FILE_CALL(ssize_t, WRITE, pwrite64, (int f, const void *b, size_t n, off64_t o), f,
          int COMMA const void * COMMA size_t COMMA off64_t, f, b, n, o)
FILE_CALL(int, FSYNC, fsync, (int f), f, int, f)
FILE_CALL(int, FSYNC, fdatasync, (int f), f, int, f)
FILE_CALL(int, TRUNCATE, ftruncate, (int f, off_t o), f, int COMMA off_t, f, o)
FILE_CALL(int, TRUNCATE, ftruncate64, (int f, off64_t o), f, int COMMA off64_t, f, o)
FILE_CALL(int, LOCK, flock, (int f, int o), f, int COMMA int, f, o)

#define LOCKS(name) \
    int name(int file, int command, ...) { \
        REAL(int, #name, int, int, ...); \
        va_list arguments; \
        va_start(arguments, command); \
        void *argument = va_arg(arguments, void *); \
        va_end(arguments); \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK; \
        return locks && file_fails(LOCK, file) ? -1 : real(file, command, argument); \
    }
LOCKS(fcntl)
LOCKS(fcntl64)

#define PATH_CALL(operation, name, parameters, folder, path, types, ...) \
    int name parameters { \
        REAL(int, #name, types); \
        return path_fails(operation, folder, path) ? -1 : real(__VA_ARGS__); \
    }
PATH_CALL(RENAME, rename, (const char *a, const char *b), AT_FDCWD, b,
          const char * COMMA const char *, a, b)
PATH_CALL(RENAME, renameat, (int f, const char *a, int g, const char *b), g, b,
          int COMMA const char * COMMA int COMMA const char *, f, a, g, b)
PATH_CALL(LINK, link, (const char *a, const char *b), AT_FDCWD, b,
          const char * COMMA const char *, a, b)
PATH_CALL(LINK, linkat, (int f, const char *a, int g, const char *b, int o), g, b,
          int COMMA const char * COMMA int COMMA const char * COMMA int, f, a, g, b, o)
PATH_CALL(MKDIR, mkdir, (const char *p, mode_t m), AT_FDCWD, p, const char * COMMA mode_t, p, m)
PATH_CALL(MKDIR, mkdirat, (int f, const char *p, mode_t m), f, p,
          int COMMA const char * COMMA mode_t, f, p, m)
PATH_CALL(UNLINK, unlink, (const char *p), AT_FDCWD, p, const char *, p)
PATH_CALL(UNLINK, unlinkat, (int f, const char *p, int o), f, p,
          int COMMA const char * COMMA int, f, p, o)
PATH_CALL(UNLINK, rmdir, (const char *p), AT_FDCWD, p, const char *, p)
PATH_CALL(TRUNCATE, truncate, (const char *p, off_t o), AT_FDCWD, p, const char * COMMA off_t, p, o)
PATH_CALL(TRUNCATE, truncate64, (const char *p, off64_t o), AT_FDCWD, p,
          const char * COMMA off64_t, p, o)
