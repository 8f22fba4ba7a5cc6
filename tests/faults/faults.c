/* Faults: a library to preload that makes system calls on chosen files fail, wait, or be the process's last.

   FAULTS holds rules, split by line ends: CALL ACTION AFTER TIMES PART
     CALL    read | write | sync | open | create | link | rename | unlink
     ACTION  an error's number (5 is EIO), or wait, or kill
     AFTER   how many such calls pass before it strikes; for wait, milliseconds
     TIMES   how often it strikes, 0 for always
     PART    what the path of the file contains

   Only calls through the C library are seen, which are all that Python makes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 8

static struct rule {
  char call[16], action[16], part[PATH_MAX];
  int after, times, seen;
} rules[MOST];
static int count;

__attribute__((constructor)) static void begin(void) {
  const char *line = getenv("FAULTS");
  while (line && *line && count < MOST) {
    struct rule *one = &rules[count];
    if (sscanf(line, "%15s %15s %d %d %4095[^\n]", one->call, one->action, &one->after, &one->times, one->part) == 5)
      count++;
    line = strchr(line, '\n');
    line += line != NULL;
  }
}

/* Whether the call is to fail; errno says how. */
static int strikes(const char *call, const char *path) {
  for (int i = 0; i < count; i++) {
    struct rule *one = &rules[i];
    if (strcmp(one->call, call) || !path || !strstr(path, one->part))
      continue;
    if (!strcmp(one->action, "wait")) {
      usleep(1000 * one->after);
      continue;
    }
    int turn = __atomic_add_fetch(&one->seen, 1, __ATOMIC_SEQ_CST) - one->after;
    if (turn < 1 || (one->times && turn > one->times))
      continue;
    if (!strcmp(one->action, "kill"))
      kill(getpid(), SIGKILL);
    errno = atoi(one->action);
    return 1;
  }
  return 0;
}

static int strikes_open(const char *call, int file) {
  char name[64], path[PATH_MAX];
  if (!count)
    return 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  ssize_t size = readlink(name, path, sizeof path - 1);
  if (size < 0)
    return 0;
  path[size] = 0;
  return strikes(call, path);
}

#define ON_FILE(call, result, name, file, types, words) \
  result name types { \
    static result(*real) types; \
    if (!real) \
      real = (result(*) types)dlsym(RTLD_NEXT, #name); \
    return strikes_open(call, file) ? -1 : real words; \
  }
#define ON_PATH(call, name, path, types, words) \
  int name types { \
    static int(*real) types; \
    if (!real) \
      real = (int(*) types)dlsym(RTLD_NEXT, #name); \
    return strikes(call, path) ? -1 : real words; \
  }

ON_FILE("read", ssize_t, read, file, (int file, void *to, size_t size), (file, to, size))
ON_FILE("read", ssize_t, pread64, file, (int file, void *to, size_t size, off64_t at), (file, to, size, at))
ON_FILE("read", ssize_t, preadv64, file, (int file, const struct iovec *to, int parts, off64_t at), (file, to, parts, at))
ON_FILE("read", ssize_t, preadv64v2, file, (int file, const struct iovec *to, int parts, off64_t at, int flags),
        (file, to, parts, at, flags))
ON_FILE("write", ssize_t, write, file, (int file, const void *from, size_t size), (file, from, size))
ON_FILE("write", ssize_t, pwrite64, file, (int file, const void *from, size_t size, off64_t at), (file, from, size, at))
ON_FILE("write", ssize_t, splice, to, (int from, off64_t *start, int to, off64_t *at, size_t size, unsigned flags),
        (from, start, to, at, size, flags))
ON_FILE("write", ssize_t, sendfile64, to, (int to, int from, off64_t *start, size_t size), (to, from, start, size))
ON_FILE("write", ssize_t, copy_file_range, to,
        (int from, off64_t *start, int to, off64_t *at, size_t size, unsigned flags), (from, start, to, at, size, flags))
ON_FILE("write", int, fallocate, file, (int file, int mode, off_t at, off_t size), (file, mode, at, size))
ON_FILE("sync", int, fsync, file, (int file), (file))
ON_FILE("sync", int, fdatasync, file, (int file), (file))
ON_PATH("link", link, to, (const char *from, const char *to), (from, to))
ON_PATH("link", linkat, to, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
ON_PATH("link", symlink, at, (const char *to, const char *at), (to, at))
ON_PATH("rename", rename, to, (const char *from, const char *to), (from, to))
ON_PATH("unlink", unlink, path, (const char *path), (path))

static int opened(const char *name, const char *path, int flags, mode_t mode) {
  int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
  if (strikes("open", path) || ((flags & O_CREAT) && strikes("create", path)))
    return -1;
  return real(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return opened("open64", path, flags, mode);
}

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return opened("open", path, flags, mode);
}
