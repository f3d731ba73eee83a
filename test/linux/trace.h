/*
 * What the driver (trace.c) and the processes that are address spaces (trace-space.c) say to each
 * other.
 */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PAGE = 4096, WINDOW = 24, SPACES = 4, BULK_MAX = 8 * PAGE };
static const uint64_t BASE = 1ull << 40;

/* Those up to MADVISE may change mappings. */
enum call { MMAP, MUNMAP, MPROTECT, MREMAP, MADVISE, LOAD, STORE, ADD, READ, WRITE, FORK, EXIT, DUMP, FRAMES, LIMIT };

/* An access that the kernel refused answers one of these. */
enum { SEGV = -1001, BUS = -1002 };

struct request {
  enum call call;
  uint64_t address, length, new_length, to, value;
  int protection, flags, width;
};

struct reply {
  int64_t answer; /* or a negative errno, SEGV, BUS */
  uint64_t sum;   /* READ: of the bytes */
  int64_t dump[WINDOW];
  char frames[WINDOW + 1]; /* FRAMES: see trace.c; empty where the kernel does not tell */
  char map[2 * WINDOW + 1]; /* see trace.c; empty after calls that change no mapping */
};

extern int request_pipes[SPACES][2], reply_pipes[SPACES][2];
extern pid_t driver;

/* LIMIT: `value` is a number of this kind. */
enum limit { NO_LIMIT, LIMIT_PAGES, LIMIT_MAPPINGS };

void give_up(const char *what) __attribute__((noreturn));
void read_all(int fd, void *into, size_t length);
void write_all(int fd, const void *from, size_t length);

/* Does what it is sent, for ever. */
void serve(int space) __attribute__((noreturn));
/* As many mappings as a process may have; 0 = so many that they cannot be used up here. */
int mappings_max(void);
bool zeros_have_frames(void);
