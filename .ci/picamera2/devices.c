// Stands in for two devices that a machine without a camera may lack (LD_PRELOAD). From /dev/udmabuf, libcamera gets
// memory that devices share, made of a memory file; here the file itself is given back, and the virtual camera only
// maps it. Picamera2 opens a heap of such memory whenever it closes a camera, and takes nothing from it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static int is_ours(const char *path) {
  return path != NULL && (strcmp(path, "/dev/udmabuf") == 0 || strcmp(path, "/dev/dma_heap/vidbuf_cached") == 0);
}

static int open_with(const char *symbol, const char *path, int flags, mode_t mode) {
  if (is_ours(path)) return memfd_create("device", MFD_CLOEXEC);
  int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, symbol);
  if (next == NULL) {
    errno = ENOSYS;
    return -1;
  }
  return next(path, flags, mode);
}

static mode_t mode_of(int flags, va_list rest) {
  return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = mode_of(flags, rest);
  va_end(rest);
  return open_with("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = mode_of(flags, rest);
  va_end(rest);
  return open_with("open64", path, flags, mode);
}

int ioctl(int file, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (request == UDMABUF_CREATE) {
    const struct udmabuf_create *wanted = argument;
    return fcntl((int)wanted->memfd, F_DUPFD_CLOEXEC, 0);
  }
  int (*next)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  if (next == NULL) {
    errno = ENOSYS;
    return -1;
  }
  return next(file, request, argument);
}
