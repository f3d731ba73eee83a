/*
 * Random traces of mmap-family calls against the running kernel, with what each call answered. differential.ts compiles and runs this, replays what it prints on AddressSpace, and
 * compares step by step.
 *
 *     trace SEED FIRST TRACES STEPS
 *
 * prints traces FIRST to FIRST + TRACES - 1 of SEED; a trace depends on SEED and its own number alone. The driver process draws the steps and prints them. Each address space is a
 * process of its own, which does what the driver sends it through a pipe; a fork is a fork. All of them play in one window of WINDOW pages at BASE, where nothing is mapped by itself.
 * A mapping that the kernel has placed itself is the space's one guest, "x"; it is used as a whole, and moves into the window or goes.
 *
 * One line is one step:
 *
 *     SPACE CALL ARGUMENTS = ANSWER MAP
 *
 * Addresses are w, x or e (the end of addresses) with an offset in bytes; answers are numbers, addresses, names of errors, or names of signals. MAP, after calls that may change
 * mappings, shows the window page by page: "." a hole, n r w a private page with no right, for reading, for reading and writing, N R W a shared one; "|" goes before the first page of each
 * of the kernel's mappings.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum { PAGE = 4096, WINDOW = 24, SPACES = 4, COUNT_MAX = 7, BULK_MAX = 8 * PAGE };
static const uint64_t BASE = 1ull << 40;
static uint64_t end_of_addresses;

/* ---- random numbers (splitmix64) ---- */

static uint64_t random_state;

static uint64_t next_random(void) {
  uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

static int below(int n) { return (int)(next_random() % (uint64_t)n); }
static bool chance(int percent) { return below(100) < percent; }

/* ---- what the driver and the spaces say to each other ---- */

/* Those up to MADVISE may change mappings. */
enum call { MMAP, MUNMAP, MPROTECT, MREMAP, MADVISE, LOAD, STORE, ADD, READ, WRITE, FORK, EXIT, DUMP, LIMIT };

struct request {
  enum call call;
  uint64_t address, length, new_length, to, value;
  int protection, flags, width;
};

/* Answers of accesses that the kernel refused. */
enum { SEGV = -1001, BUS = -1002 };

struct reply {
  int64_t answer; /* or a negative errno, SEGV, BUS */
  uint64_t sum;   /* READ: of the bytes */
  int64_t dump[WINDOW];
  char map[2 * WINDOW + 1];
};

static int request_pipes[SPACES][2], reply_pipes[SPACES][2];

static void give_up(const char *what) {
  fprintf(stderr, "trace: %s: %s\n", what, strerror(errno));
  exit(3);
}

static pid_t driver;

/* A space that cannot reach the driver goes home; the driver says that a space has died. */
static void lose_peer(void) {
  if (getpid() != driver) _exit(0);
  give_up("a space is gone");
}

static void read_all(int fd, void *into, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t got = read(fd, (char *)into + done, length - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) lose_peer();
    done += (size_t)got;
  }
}

static void write_all(int fd, const void *from, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t put = write(fd, (const char *)from + done, length - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) lose_peer();
    done += (size_t)put;
  }
}

/* ---- an address space ---- */

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

/* RLIMIT_AS so that `pages` more can be mapped. */
static int64_t limit_bytes(uint64_t pages) {
  FILE *file = fopen("/proc/self/statm", "re");
  uint64_t mapped;
  if (file == NULL || fscanf(file, "%lu", &mapped) != 1) give_up("/proc/self/statm");
  fclose(file);
  struct rlimit limit = {(mapped + pages) * PAGE, (mapped + pages) * PAGE};
  return setrlimit(RLIMIT_AS, &limit) == 0 ? 0 : -errno;
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
    case LIMIT:
      return limit_bytes(r->value);
    default:
      return access_value(r);
  }
  return result == -1 ? -errno : result;
}

static void serve(int space) {
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

static void start_first_space(void) {
  pid_t child = fork();
  if (child < 0) give_up("fork");
  /* A space keeps the ends that its forks need; without the driver's, it sees that the driver has gone. */
  for (int i = 0; i < SPACES; i++) {
    close(request_pipes[i][child > 0 ? 0 : 1]);
    close(reply_pipes[i][child > 0 ? 1 : 0]);
  }
  if (child > 0) return;
  signal(SIGALRM, SIG_DFL);
  struct sigaction action = {.sa_handler = on_refusal, .sa_flags = SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  copies = memfd_create("copies", MFD_CLOEXEC);
  if (copies < 0) give_up("memfd_create");
  serve(0);
}

/* ---- the driver ---- */

/* Of the forks of a space that has died, each holds the pipe's other end open: the driver would wait for ever. */
static void on_alarm(int signal) {
  (void)signal;
  static const char text[] = "trace: a space does not answer\n";
  (void)!write(2, text, sizeof text - 1);
  _exit(3);
}

struct space {
  bool lives;
  uint64_t guest; /* where the kernel placed a mapping; 0 = there is none */
  int guest_pages;
  char map[2 * WINDOW + 1];
};

static struct space spaces[SPACES];
static bool is_limited;

static struct reply *ask(int space, const struct request *r) {
  static struct reply reply;
  write_all(request_pipes[space][1], r, sizeof *r);
  read_all(reply_pipes[space][0], &reply, sizeof reply);
  if (reply.map[0] != 0) strcpy(spaces[space].map, reply.map);
  return &reply;
}

static const char *error_name(int64_t answer) {
  switch (answer) {
    case SEGV: return "SIGSEGV";
    case BUS: return "SIGBUS";
    case -EINVAL: return "EINVAL";
    case -ENOMEM: return "ENOMEM";
    case -EFAULT: return "EFAULT";
    case -EEXIST: return "EEXIST";
    case -EAGAIN: return "EAGAIN";
    case -EPERM: return "EPERM";
    case -EACCES: return "EACCES";
  }
  static char text[32];
  snprintf(text, sizeof text, "errno%ld", -answer);
  return text;
}

/* As a token: relative to the window, the guest, or the end of addresses. */
static const char *place(int space, uint64_t address) {
  static char texts[4][32];
  static int turn;
  char *text = texts[turn++ % 4];
  const struct space *s = &spaces[space];
  if (address >= end_of_addresses - (1ull << 30)) {
    snprintf(text, 32, "e%ld", (int64_t)(address - end_of_addresses));
  } else if (s->guest != 0 && address >= s->guest && address < s->guest + (uint64_t)s->guest_pages * PAGE) {
    snprintf(text, 32, "x%lu", address - s->guest);
  } else {
    snprintf(text, 32, "w%ld", (int64_t)(address - BASE));
  }
  return text;
}

static bool is_in_window(uint64_t address) { return address >= BASE && address < BASE + WINDOW * PAGE; }

/* Prints the answer of a call that may map: an address in the window, or a new guest of `pages` pages. */
static void print_place(int space, const struct reply *reply, int pages) {
  if (reply->answer < 0) {
    printf("%s %s\n", error_name(reply->answer), reply->map);
    return;
  }
  uint64_t address = (uint64_t)reply->answer;
  if (!is_in_window(address)) {
    spaces[space].guest = address;
    spaces[space].guest_pages = pages;
  }
  printf("%s %s\n", place(space, address), reply->map);
}

static void print_answer(const struct reply *reply) {
  if (reply->answer < 0) printf("%s %s\n", error_name(reply->answer), reply->map);
  else printf("%ld %s\n", reply->answer, reply->map);
}

static char kind_at(int space, int page) {
  int seen = -1;
  for (const char *c = spaces[space].map; *c != 0; c++) {
    if (*c != '|' && ++seen == page) return *c;
  }
  return '.';
}

/* Pages from `page` to the end of the kernel's mapping. */
static int pages_to_end(int space, int page) {
  int seen = -1;
  for (const char *c = spaces[space].map; *c != 0; c++) {
    if (*c == '|') {
      if (seen >= page) return seen + 1 - page;
    } else {
      seen++;
      if (seen > page && *c == '.') return seen - page;
    }
  }
  return WINDOW - page;
}

/* A page of the window; mostly one that is mapped. */
static int any_page(int space) {
  int page = below(WINDOW);
  for (int tries = 0; tries < 6 && kind_at(space, page) == '.' && !chance(20); tries++) page = below(WINDOW);
  return page;
}

/* At most to the end of the window. */
static int any_count(int space, int page) {
  int count = chance(30) ? pages_to_end(space, page) : 1 + below(COUNT_MAX);
  return count < WINDOW - page ? count : WINDOW - page;
}

/* In bytes: sometimes not whole pages. */
static uint64_t any_length(int pages) {
  uint64_t length = (uint64_t)pages * PAGE;
  return length > 0 && chance(15) ? length - (uint64_t)below(PAGE) : length;
}

/* The page's address, or rarely one that is misaligned or lies at or past the end of addresses. */
static uint64_t any_start(int page) {
  if (chance(2)) return BASE + (uint64_t)page * PAGE + (uint64_t)below(PAGE);
  if (chance(2)) return end_of_addresses + (uint64_t)below(3) * PAGE + (chance(30) ? 1 : 0);
  return BASE + (uint64_t)page * PAGE;
}

static int any_protection(void) {
  int pick = below(8);
  return pick == 0 ? PROT_NONE : pick < 3 ? PROT_READ : PROT_READ | PROT_WRITE;
}

static char protection_letter(int protection) {
  return protection == PROT_NONE ? 'n' : protection == PROT_READ ? 'r' : 'w';
}

static void step_mmap(int space) {
  struct request r = {.call = MMAP, .protection = any_protection()};
  bool is_shared = chance(35);
  r.flags = MAP_ANONYMOUS | MAP_NORESERVE | (is_shared ? MAP_SHARED : MAP_PRIVATE);
  int page = below(WINDOW), pages = any_count(space, page);
  const char *placement = "hint";
  r.address = any_start(page);
  r.length = chance(2) ? 0 : any_length(pages);
  int pick = below(100);
  if (pick < 45 || spaces[space].guest != 0) {
    placement = "replace";
    r.flags |= MAP_FIXED;
  } else if (pick < 65) {
    placement = "noreplace";
    r.flags |= MAP_FIXED_NOREPLACE;
  } else if (chance(40)) {
    r.address = 0;
  }
  printf("%d mmap %s %lu %c %s %s = ", space, r.address == 0 ? "none" : place(space, r.address), r.length,
         protection_letter(r.protection), is_shared ? "shared" : "private", placement);
  print_place(space, ask(space, &r), pages);
}

static void step_munmap(int space) {
  int page = any_page(space);
  struct request r = {.call = MUNMAP, .address = any_start(page), .length = any_length(any_count(space, page))};
  if (chance(2)) r.length = 0;
  printf("%d munmap %s %lu = ", space, place(space, r.address), r.length);
  print_answer(ask(space, &r));
}

static void step_mprotect(int space) {
  int page = any_page(space);
  struct request r = {.call = MPROTECT, .address = any_start(page), .protection = any_protection()};
  r.length = chance(3) ? 0 : any_length(any_count(space, page));
  printf("%d mprotect %s %lu %c = ", space, place(space, r.address), r.length, protection_letter(r.protection));
  print_answer(ask(space, &r));
}

static void step_madvise(int space) {
  int page = any_page(space);
  struct request r = {.call = MADVISE, .address = any_start(page), .flags = chance(15) ? MADV_NORMAL : MADV_DONTNEED};
  r.length = chance(3) ? 0 : any_length(any_count(space, page));
  printf("%d madvise %s %lu %s = ", space, place(space, r.address), r.length,
         r.flags == MADV_NORMAL ? "normal" : "dontneed");
  print_answer(ask(space, &r));
}

static void print_mremap(int space, const struct request *r, int new_pages) {
  bool is_fixed = (r->flags & MREMAP_FIXED) != 0;
  printf("%d mremap %s %lu %lu %s%s%s %s = ", space, place(space, r->address), r->length, r->new_length,
         (r->flags & MREMAP_MAYMOVE) != 0 ? "m" : "-", is_fixed ? "f" : "", (r->flags & MREMAP_DONTUNMAP) != 0 ? "k" : "",
         is_fixed ? place(space, r->to) : "none");
  print_place(space, ask(space, r), new_pages);
}

/* The guest is used, moves into the window, or goes. */
static void step_guest(int space) {
  struct space *s = &spaces[space];
  int pages = s->guest_pages;
  if (chance(40)) {
    struct request r = {.call = LOAD, .address = s->guest + (uint64_t)below(pages) * PAGE, .width = 4};
    printf("%d load %s 4 = ", space, place(space, r.address));
    print_answer(ask(space, &r));
  } else if (chance(40)) {
    struct request r = {.call = STORE, .address = s->guest + (uint64_t)below(pages) * PAGE, .width = 4};
    r.value = next_random() & 0xffffffff;
    printf("%d store %s 4 %lu = ", space, place(space, r.address), r.value);
    print_answer(ask(space, &r));
  } else if (chance(70) && pages <= WINDOW) {
    int to = below(WINDOW - pages + 1), new_pages = chance(70) ? pages : 1 + below(WINDOW - to);
    struct request r = {.call = MREMAP, .address = s->guest, .length = (uint64_t)pages * PAGE};
    r.new_length = (uint64_t)new_pages * PAGE;
    r.flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    r.to = BASE + (uint64_t)to * PAGE;
    print_mremap(space, &r, new_pages);
    if (kind_at(space, to) != '.') {
      /* Gone from its place, unless the kernel refused. */
      struct request gone = {.call = MUNMAP, .address = s->guest, .length = (uint64_t)pages * PAGE};
      printf("%d munmap %s %lu = ", space, place(space, gone.address), gone.length);
      print_answer(ask(space, &gone));
      s->guest = 0;
    }
  } else {
    struct request r = {.call = MUNMAP, .address = s->guest, .length = (uint64_t)pages * PAGE};
    printf("%d munmap %s %lu = ", space, place(space, r.address), r.length);
    print_answer(ask(space, &r));
    s->guest = 0;
  }
}

static void step_mremap(int space) {
  int page = any_page(space), pages = any_count(space, page), new_pages = 1 + below(COUNT_MAX);
  if (chance(6)) pages = 0;
  if (chance(35)) new_pages = pages;
  struct request r = {.call = MREMAP, .address = any_start(page)};
  if (chance(75)) r.flags |= MREMAP_MAYMOVE;
  if (chance(60) || spaces[space].guest != 0) r.flags |= MREMAP_FIXED;
  if (chance(15)) {
    r.flags |= MREMAP_DONTUNMAP;
    if (chance(90)) new_pages = pages;
  }
  if ((r.flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 && chance(85)) r.flags |= MREMAP_MAYMOVE;
  int to = below(WINDOW);
  /* Nothing reaches out of the window, where something else might be. */
  int room = WINDOW - ((r.flags & MREMAP_FIXED) != 0 ? to : page);
  if (new_pages > room) new_pages = room;
  r.length = any_length(pages);
  r.new_length = chance(2) ? 0 : any_length(new_pages);
  if ((r.flags & MREMAP_FIXED) != 0) r.to = any_start(to);
  /* The old range may reach past the end of addresses, if nothing is moved from there. */
  if ((r.flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 && chance(2)) r.length = end_of_addresses;
  print_mremap(space, &r, (int)((r.new_length + PAGE - 1) / PAGE));
}

static void step_access(int space) {
  static const int widths[] = {4, 4, 2, 1};
  struct request r = {.call = LOAD, .width = widths[below(4)], .value = next_random()};
  uint64_t offset = (uint64_t)(chance(60) ? 0 : below(PAGE / 4) * 4);
  r.address = BASE + (uint64_t)any_page(space) * PAGE + offset;
  if (chance(1)) r.address = end_of_addresses + (uint64_t)below(1 << 20) * 4096;
  int pick = below(100);
  if (pick < 55) {
    r.call = STORE;
    r.value &= r.width == 4 ? 0xffffffff : r.width == 2 ? 0xffff : 0xff;
    printf("%d store %s %d %lu = ", space, place(space, r.address), r.width, r.value);
  } else if (pick < 65) {
    r.call = ADD;
    r.value &= 0xffffffff;
    printf("%d add %s 4 %lu = ", space, place(space, r.address), r.value);
  } else {
    printf("%d load %s %d = ", space, place(space, r.address), r.width);
  }
  print_answer(ask(space, &r));
}

static void step_bulk(int space) {
  int page = any_page(space);
  struct request r = {.call = chance(50) ? READ : WRITE, .address = BASE + (uint64_t)page * PAGE};
  r.length = any_length(any_count(space, page));
  if (r.length > BULK_MAX) r.length = BULK_MAX;
  r.value = next_random() & 0xff;
  printf("%d %s %s %lu %lu = ", space, r.call == READ ? "read" : "write", place(space, r.address), r.length, r.value);
  struct reply *reply = ask(space, &r);
  if (r.call == READ && reply->answer > 0) printf("%ld %lu\n", reply->answer, reply->sum);
  else print_answer(reply);
}

static void step_fork(int space) {
  int child = -1;
  for (int i = 0; i < SPACES; i++) if (!spaces[i].lives) child = i;
  if (child < 0) return;
  struct request r = {.call = FORK, .value = (uint64_t)child};
  struct reply reply;
  if (ask(space, &r)->answer < 0) give_up("fork of a space");
  read_all(reply_pipes[child][0], &reply, sizeof reply);
  spaces[child] = spaces[space];
  printf("%d fork = %d\n", space, child);
}

static void end_space(int space) {
  struct request r = {.call = EXIT};
  ask(space, &r);
  spaces[space].lives = false;
}

static void step_exit(int space) {
  int others = 0;
  for (int i = 0; i < SPACES; i++) others += spaces[i].lives;
  if (others < 2) return;
  end_space(space);
  printf("%d exit = 0\n", space);
}

static void dump(int space) {
  struct request r = {.call = DUMP};
  struct reply *reply = ask(space, &r);
  printf("%d dump =", space);
  for (int page = 0; page < WINDOW; page++) {
    if (reply->dump[page] < 0) printf(" %s", error_name(reply->dump[page]));
    else printf(" %ld", reply->dump[page]);
  }
  printf("\n");
}

static void any_step(void) {
  int space = below(SPACES);
  while (!spaces[space].lives) space = below(SPACES);
  int pick = below(100);
  if (spaces[space].guest != 0 && chance(40)) step_guest(space);
  else if (pick < 18) step_mmap(space);
  else if (pick < 25) step_munmap(space);
  else if (pick < 34) step_mprotect(space);
  else if (pick < 52) step_mremap(space);
  else if (pick < 57) step_madvise(space);
  else if (pick < 90) step_access(space);
  else if (pick < 95) step_bulk(space);
  else if (pick < 98) step_fork(space);
  else step_exit(space);
}

/* Every fourth trace is under a limit of bytes. */
static void run_trace(uint64_t seed, int number, int steps) {
  random_state = seed * 0x2545f4914f6cdd1dull + (uint64_t)number * 0xd1342543de82ef95ull;
  for (int i = 0; i < 8; i++) next_random();
  is_limited = number % 4 == 3;
  int limit_pages = is_limited ? 6 + below(12) : 0;
  printf("trace %d of seed %lu, limit %d\n", number, seed, limit_pages);
  for (int i = 0; i < SPACES; i++) {
    if (pipe2(request_pipes[i], O_CLOEXEC) != 0 || pipe2(reply_pipes[i], O_CLOEXEC) != 0) give_up("pipe");
  }
  memset(spaces, 0, sizeof spaces);
  fflush(stdout);
  start_first_space();
  spaces[0].lives = true;
  memset(spaces[0].map, '.', WINDOW);
  if (is_limited) {
    struct request r = {.call = LIMIT, .value = (uint64_t)limit_pages};
    if (ask(0, &r)->answer < 0) give_up("setrlimit");
  }
  alarm(120);
  for (int step = 0; step < steps; step++) any_step();
  for (int i = 0; i < SPACES; i++) {
    if (!spaces[i].lives) continue;
    dump(i);
    end_space(i);
  }
  for (int i = 0; i < SPACES; i++) {
    close(request_pipes[i][1]);
    close(reply_pipes[i][0]);
  }
}

/* munmap of a range that reaches past the end is EINVAL; where nothing is mapped it does no harm. */
static uint64_t find_end_of_addresses(void) {
  static const int bits[] = {47, 48, 52, 56};
  for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
    uint64_t end = (1ull << bits[i]) - PAGE;
    if (syscall(SYS_munmap, end, PAGE) == -1 && errno == EINVAL) return end;
    if (syscall(SYS_munmap, end + PAGE, PAGE) == -1 && errno == EINVAL) return end + PAGE;
  }
  give_up("no end of addresses found");
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: trace SEED FIRST TRACES STEPS\n");
    return 2;
  }
  if (sysconf(_SC_PAGESIZE) != PAGE) {
    fprintf(stderr, "trace: pages here are not of 4096 bytes\n");
    return 4;
  }
  driver = getpid();
  signal(SIGCHLD, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGALRM, on_alarm);
  uint64_t seed = strtoull(argv[1], NULL, 10);
  int first = atoi(argv[2]), traces = atoi(argv[3]), steps = atoi(argv[4]);
  end_of_addresses = find_end_of_addresses();
  struct utsname name;
  uname(&name);
  printf("kernel %s window %d\n", name.release, WINDOW);
  for (int i = 0; i < traces; i++) run_trace(seed, first + i, steps);
  fflush(stdout);
  return 0;
}
