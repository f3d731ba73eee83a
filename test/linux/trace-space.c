/*
 * A process that is one address space of a trace: it makes the calls that the driver (trace.c)
 * sends it, and answers with what came of them.
 */

#define _GNU_SOURCE
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int request_pipes[SPACES][2], reply_pipes[SPACES][2];

void give_up(const char *what) {
  fprintf(stderr, "trace: %s: %s\n", what, strerror(errno));
  exit(3);
}

pid_t driver;

/* A space that cannot reach the driver goes home; the driver says that a space has died. */
static void lose_peer(void) {
  if (getpid() != driver) _exit(0);
  give_up("a space is gone");
}

void read_all(int fd, void *into, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t got = read(fd, (char *)into + done, length - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) lose_peer();
    done += (size_t)got;
  }
}

void write_all(int fd, const void *from, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t put = write(fd, (const char *)from + done, length - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) lose_peer();
    done += (size_t)put;
  }
}

static sigjmp_buf refused;
static int copies; /* a memfd: reads and writes through it are the kernel's own accesses */

static void on_refusal(int signal) { siglongjmp(refused, signal == SIGBUS ? BUS : SEGV); }

static int64_t access_value(const struct request *r) {
  int signal = sigsetjmp(refused, 1);
  if (signal != 0) return signal;
  volatile void *at = (volatile void *)r->address;
  if (r->call == ADD) return __atomic_fetch_add((volatile uint32_t *)at, (uint32_t)r->value, __ATOMIC_SEQ_CST);
  if (r->call == LOAD) {
    if (r->width == 1) return *(volatile uint8_t *)at;
    return r->width == 2 ? (int64_t) * (volatile uint16_t *)at : (int64_t) * (volatile uint32_t *)at;
  }
  if (r->width == 1) *(volatile uint8_t *)at = (uint8_t)r->value;
  else if (r->width == 2) *(volatile uint16_t *)at = (uint16_t)r->value;
  else *(volatile uint32_t *)at = (uint32_t)r->value;
  return 0;
}

static uint8_t bulk[BULK_MAX];

static int64_t bulk_copy(const struct request *r, uint64_t *sum) {
  if (r->call == WRITE) {
    for (uint64_t i = 0; i < r->length; i++) bulk[i] = (uint8_t)(r->value + i * 7 + i / PAGE);
    if (pwrite(copies, bulk, r->length, 0) != (ssize_t)r->length) give_up("pwrite");
    ssize_t done = pread(copies, (void *)r->address, r->length, 0);
    return done < 0 ? -errno : done;
  }
  ssize_t done = pwrite(copies, (void *)r->address, r->length, 0);
  if (done < 0) return -errno;
  if (pread(copies, bulk, (size_t)done, 0) != done) give_up("pread");
  *sum = 0;
  for (ssize_t i = 0; i < done; i++) *sum = (*sum * 31 + bulk[i]) & 0xffffffff;
  return done;
}

/* The window in /proc/self/maps, which lists by address: what lies above is not read. */
static void read_map(char *map) {
  static char text[65536];
  char pages[WINDOW];
  bool starts[WINDOW] = {false};
  memset(pages, '.', WINDOW);
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) give_up("/proc/self/maps");
  size_t filled = 0;
  for (bool is_over = false; !is_over;) {
    ssize_t got = read(fd, text + filled, sizeof text - 1 - filled);
    if (got < 0) give_up("/proc/self/maps");
    filled += (size_t)got;
    text[filled] = 0;
    char *line = text;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
      uint64_t first, last;
      char rights[5];
      if (sscanf(line, "%lx-%lx %4s", &first, &last, rights) != 3) give_up("a line of /proc/self/maps");
      if (first >= BASE + WINDOW * PAGE) is_over = true;
      if (first < BASE || is_over) continue;
      int page = (int)((first - BASE) / PAGE);
      starts[page] = true;
      char kind = rights[1] == 'w' ? 'w' : rights[0] == 'r' ? 'r' : 'n';
      if (rights[3] == 's') kind = (char)(kind - 'a' + 'A');
      for (; page < (int)((last - BASE) / PAGE) && page < WINDOW; page++) pages[page] = kind;
    }
    filled = strlen(line);
    memmove(text, line, filled);
    if (got == 0) is_over = true;
  }
  close(fd);
  for (int page = 0; page < WINDOW; page++) {
    if (starts[page]) *map++ = '|';
    *map++ = pages[page];
  }
  *map = 0;
}

/* PAGEMAP_SCAN of linux/fs.h, which older headers do not have; the kernel has it since 6.7. */
struct scan {
  uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages;
  uint64_t inverted, all_of, any_of, returned;
};
struct region {
  uint64_t start, end, categories;
};
enum { IS_PRESENT = 1 << 3, IS_SWAPPED = 1 << 4, IS_ZERO_PAGE = 1 << 5 };

/* The runs of pages of [start, start + pages) that have a frame; -errno. */
static int scan_pages(uint64_t start, int pages, struct region *regions) {
  struct scan scan = {.size = sizeof scan, .start = start, .end = start + (uint64_t)pages * PAGE};
  scan.regions = (uint64_t)regions;
  scan.region_count = (uint64_t)pages;
  scan.any_of = IS_PRESENT | IS_SWAPPED;
  scan.returned = IS_PRESENT | IS_SWAPPED | IS_ZERO_PAGE;
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int count = ioctl(fd, _IOWR('f', 16, struct scan), &scan);
  int failed = errno;
  close(fd);
  return count < 0 ? -failed : count;
}

/* Which pages of the window have a frame that is not the page of zeros. */
static int64_t read_frames(char *frames) {
  struct region regions[WINDOW];
  int count = scan_pages(BASE, WINDOW, regions);
  if (count < 0) return count;
  memset(frames, '.', WINDOW);
  for (int i = 0; i < count; i++) {
    if ((regions[i].categories & IS_ZERO_PAGE) != 0) continue;
    memset(frames + (regions[i].start - BASE) / PAGE, 'f', (regions[i].end - regions[i].start) / PAGE);
  }
  return 0;
}

/* Whether pages that were only loaded from have a frame each: some kernels have no page of zeros. */
bool zeros_have_frames(void) {
  struct region region;
  char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) give_up("a page");
  (void)*(volatile char *)page;
  int count = scan_pages((uint64_t)page, 1, &region);
  munmap(page, PAGE);
  return count == 1 && (region.categories & IS_ZERO_PAGE) == 0;
}

/* RLIMIT_AS so that `pages` more can be mapped. */
static int64_t limit_pages(uint64_t pages) {
  FILE *file = fopen("/proc/self/statm", "re");
  uint64_t mapped;
  if (file == NULL || fscanf(file, "%lu", &mapped) != 1) give_up("/proc/self/statm");
  fclose(file);
  struct rlimit limit = {(mapped + pages) * PAGE, (mapped + pages) * PAGE};
  return setrlimit(RLIMIT_AS, &limit) == 0 ? 0 : -errno;
}

int mappings_max(void) {
  int most;
  FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
  if (file == NULL || fscanf(file, "%d", &most) != 1) give_up("/proc/sys/vm/max_map_count");
  fclose(file);
  return most <= 100000 ? most : 0;
}

static int count_mappings(void) {
  int count = 0;
  FILE *file = fopen("/proc/self/maps", "re");
  if (file == NULL) give_up("/proc/self/maps");
  for (char line[512]; fgets(line, sizeof line, file) != NULL;) {
    /* Not of the process, though it is listed. */
    if (strstr(line, "[vsyscall]") == NULL && strchr(line, '\n') != NULL) count++;
  }
  fclose(file);
  return count;
}

/* Uses mappings up until `room` are left: pages of two kinds in turn. */
static int64_t limit_mappings(int room) {
  int wanted = mappings_max() - room;
  size_t pages = (size_t)wanted + 2;
  char *at = mmap(NULL, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return -errno;
  int missing = wanted - count_mappings();
  /* A page out of the middle of a mapping makes two more; the last one, one more. */
  for (int i = 0; i < missing / 2; i++) {
    if (mprotect(at + (2 * (size_t)i + 1) * PAGE, PAGE, PROT_READ) != 0) return -errno;
  }
  if (missing % 2 != 0 && mprotect(at + (pages - 1) * PAGE, PAGE, PROT_READ) != 0) return -errno;
  if (count_mappings() != wanted) give_up("mappings are not as many as they should be");
  return 0;
}

static int64_t do_call(const struct request *r, struct reply *reply) {
  long result = 0;
  switch (r->call) {
    case MMAP:
      result = syscall(SYS_mmap, r->address, r->length, r->protection, r->flags, -1, 0);
      break;
    case MUNMAP:
      result = syscall(SYS_munmap, r->address, r->length);
      break;
    case MPROTECT:
      result = syscall(SYS_mprotect, r->address, r->length, r->protection);
      break;
    case MREMAP:
      result = syscall(SYS_mremap, r->address, r->length, r->new_length, r->flags, r->to);
      break;
    case MADVISE:
      result = syscall(SYS_madvise, r->address, r->length, r->flags);
      break;
    case READ:
    case WRITE:
      return bulk_copy(r, &reply->sum);
    case DUMP:
      for (int page = 0; page < WINDOW; page++) {
        struct request load = {.call = LOAD, .address = BASE + (uint64_t)page * PAGE, .width = 4};
        reply->dump[page] = access_value(&load);
      }
      return 0;
    case FRAMES:
      return read_frames(reply->frames);
    case LIMIT:
      return r->flags == LIMIT_PAGES ? limit_pages(r->value) : limit_mappings((int)r->value);
    default:
      return access_value(r);
  }
  return result == -1 ? -errno : result;
}

void serve(int space) {
  struct sigaction action = {.sa_handler = on_refusal, .sa_flags = SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  signal(SIGALRM, SIG_DFL);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  copies = memfd_create("copies", MFD_CLOEXEC);
  if (copies < 0) give_up("memfd_create");
  static struct request r;
  static struct reply reply;
  for (;;) {
    read_all(request_pipes[space][0], &r, sizeof r);
    memset(&reply, 0, sizeof reply);
    if (r.call == EXIT) {
      /* Answered first, so that a fork that gets this number next is alone with its pipes. */
      write_all(reply_pipes[space][1], &reply, sizeof reply);
      _exit(0);
    }
    if (r.call == FORK) {
      pid_t child = fork();
      if (child < 0) reply.answer = -errno;
      if (child == 0) {
        space = (int)r.value;
        /* Its own, or both would share one file's contents. */
        copies = memfd_create("copies", MFD_CLOEXEC);
      }
    } else {
      reply.answer = do_call(&r, &reply);
      if (r.call <= MADVISE) read_map(reply.map);
    }
    write_all(reply_pipes[space][1], &reply, sizeof reply);
  }
}
