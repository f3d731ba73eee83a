/*
 * Random traces of mmap-family calls against the running kernel, with what each call answered.
 * The test compiles and runs this, replays what it prints on AddressSpace, and compares step by
 * step.
 *
 *     trace SEED FIRST TRACES STEPS
 *
 * prints traces FIRST to FIRST + TRACES - 1 of SEED; a trace depends on SEED and its own number
 * alone. The driver process draws the steps and prints them. Each address space is a process of its
 * own, which does what the driver sends it through a pipe; a fork is a fork. All of them play in
 * one window of WINDOW pages at BASE, where nothing is mapped by itself. A mapping that the kernel
 * has placed itself is the space's one guest, "x"; it is used as a whole, and moves into the window
 * or goes.
 *
 * One line is one step:
 *
 *     SPACE CALL ARGUMENTS = ANSWER MAP
 *
 * Addresses are w, x or e (the end of addresses) with an offset in bytes; answers are numbers,
 * addresses, names of errors, or names of signals. MAP, after calls that may change mappings, shows
 * the window page by page: "." a hole, n r w a private page with no right, for reading, for reading
 * and writing, N R W a shared one; "|" goes before the first page of each of the kernel's mappings.
 * "frames" shows which private pages have a frame of their own: "f", or "." for none or that of
 * zeros, and "-" for shared ones. Kernels before 6.7 do not tell, so there it is left out.
 */

#define _GNU_SOURCE
#include "trace-draw.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/*
 * Of the forks of a space that has died, each holds the pipe's other end open: the driver would
 * wait for ever.
 */
static void on_alarm(int signal) {
  (void)signal;
  static const char text[] = "trace: a space does not answer\n";
  (void)!write(2, text, sizeof text - 1);
  _exit(3);
}

static enum limit limit;
static int limit_number;

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

/*
 * Prints the answer of a call that may map: an address in the window, or a new guest of `pages`
 * pages.
 */
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

static int mappings_in_window(int space) {
  int count = 0;
  for (const char *c = spaces[space].map; *c != 0; c++) count += *c == '|';
  return count;
}

static void unmap(int space, uint64_t address, uint64_t length) {
  struct request r = {.call = MUNMAP, .address = address, .length = length};
  printf("%d munmap %s %lu = ", space, place(space, address), length);
  print_answer(ask(space, &r));
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
  bool must_be_fixed = spaces[space].guest != 0 || limit == LIMIT_MAPPINGS;
  if (pick < 45 || (must_be_fixed && pick >= 65)) {
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
  /*
   * The kernel lets mmap make one mapping more than the limit says. It goes again, or every further
   * mmap would fail.
   */
  if (limit == LIMIT_MAPPINGS && mappings_in_window(space) > limit_number) unmap(space, r.address, r.length);
}

static void step_munmap(int space) {
  int page = any_page(space);
  uint64_t address = any_start(page), length = any_length(any_count(space, page));
  unmap(space, address, chance(2) ? 0 : length);
}

static void step_mprotect(int space) {
  int page = any_page(space);
  struct request r = {.call = MPROTECT, .address = any_start(page), .protection = any_protection()};
  r.length = chance(3) ? 0 : any_length(any_count(space, page));
  printf("%d mprotect %s %lu %c = ", space, place(space, r.address), r.length, protection_letter(r.protection));
  print_answer(ask(space, &r));
}

/*
 * What has one outcome that can be seen, whatever the kernel has to spare. MADV_FREE has not: the
 * contents may stay or go.
 */
static const struct {
  const char *name;
  int number;
} advices[] = {
    {"normal", MADV_NORMAL},
    {"sequential", MADV_SEQUENTIAL},
    {"random", MADV_RANDOM},
    {"willneed", MADV_WILLNEED},
    {"cold", MADV_COLD},
    {"pageout", MADV_PAGEOUT},
    {"populate-read", MADV_POPULATE_READ},
    {"populate-write", MADV_POPULATE_WRITE},
    {"dontneed", MADV_DONTNEED},
};

static void step_madvise(int space) {
  int page = any_page(space);
  int count = sizeof advices / sizeof advices[0];
  int advice = chance(50) ? count - 1 : below(count - 1);
  struct request r = {.call = MADVISE, .address = any_start(page), .flags = advices[advice].number};
  r.length = chance(3) ? 0 : any_length(any_count(space, page));
  printf("%d madvise %s %lu %s = ", space, place(space, r.address), r.length, advices[advice].name);
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
      unmap(space, s->guest, (uint64_t)pages * PAGE);
      s->guest = 0;
    }
  } else {
    unmap(space, s->guest, (uint64_t)pages * PAGE);
    s->guest = 0;
  }
}

static void step_mremap(int space) {
  int page = any_page(space), pages = any_count(space, page), new_pages = 1 + below(7);
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
  /* Where mappings are counted, none is outside the window. */
  if (limit == LIMIT_MAPPINGS && (r.flags & MREMAP_FIXED) == 0) r.flags = 0;
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
  int page = any_page(space);
  r.address = BASE + (uint64_t)page * PAGE + offset;
  if (chance(1)) r.address = end_of_addresses + (uint64_t)below(1 << 20) * 4096;
  int pick = below(100);
  /* What is stored to private memory keeps mappings apart (kind O), so that counts would differ. */
  if (limit == LIMIT_MAPPINGS && kind_at(space, page) != 'W') pick = 99;
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
  struct request r = {.call = chance(50) || limit == LIMIT_MAPPINGS ? READ : WRITE, .address = BASE + (uint64_t)page * PAGE};
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

/* Pages that were only loaded from have frames: what has one is not compared. */
static bool own_zeros;

static void step_frames(int space) {
  struct request r = {.call = FRAMES};
  struct reply *reply = ask(space, &r);
  if (reply->answer < 0 || own_zeros) return;
  for (int page = 0; page < WINDOW; page++) {
    if (strchr("NRW", kind_at(space, page)) != NULL) reply->frames[page] = '-';
  }
  printf("%d frames = %s\n", space, reply->frames);
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
  else if (pick < 94) step_bulk(space);
  else if (pick < 95) step_frames(space);
  else if (pick < 98) step_fork(space);
  else step_exit(space);
}

static void start_first_space(void) {
  pid_t child = fork();
  if (child < 0) give_up("fork");
  /*
   * A space keeps the ends that its forks need; without the driver's, it sees that the driver has
   * gone.
   */
  for (int i = 0; i < SPACES; i++) {
    close(request_pipes[i][child > 0 ? 0 : 1]);
    close(reply_pipes[i][child > 0 ? 1 : 0]);
  }
  if (child == 0) serve(0);
}

/*
 * Every fourth trace is under a limit of pages, and one in 32 under one of mappings, which takes
 * time to reach.
 */
static void run_trace(uint64_t seed, int number, int steps) {
  seed_random(seed, number);
  limit = number % 4 == 3 ? LIMIT_PAGES : number % 32 == 1 && mappings_max() > 0 ? LIMIT_MAPPINGS : NO_LIMIT;
  limit_number = limit == LIMIT_PAGES ? 6 + below(12) : limit == LIMIT_MAPPINGS ? 3 + below(10) : 0;
  const char *names[] = {"none", "pages", "mappings"};
  printf("trace %d of seed %lu, limit %s %d\n", number, seed, names[limit], limit_number);
  for (int i = 0; i < SPACES; i++) {
    if (pipe2(request_pipes[i], O_CLOEXEC) != 0 || pipe2(reply_pipes[i], O_CLOEXEC) != 0) give_up("pipe");
  }
  memset(spaces, 0, sizeof spaces);
  fflush(stdout);
  start_first_space();
  spaces[0].lives = true;
  memset(spaces[0].map, '.', WINDOW);
  if (limit != NO_LIMIT) {
    struct request r = {.call = LIMIT, .flags = (int)limit, .value = (uint64_t)limit_number};
    if (ask(0, &r)->answer < 0) give_up("the limit");
  }
  alarm(120);
  for (int step = 0; step < steps; step++) any_step();
  for (int i = 0; i < SPACES; i++) {
    if (!spaces[i].lives) continue;
    step_frames(i);
    dump(i);
    end_space(i);
  }
  for (int i = 0; i < SPACES; i++) {
    close(request_pipes[i][1]);
    close(reply_pipes[i][0]);
  }
}

/*
 * munmap of a range that reaches past the end is EINVAL; where nothing is mapped it does no harm.
 */
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
  own_zeros = zeros_have_frames();
  const char *zeros = own_zeros ? "own" : "shared";
  printf("kernel %s window %d zeros %s\n", name.release, WINDOW, zeros);
  for (int i = 0; i < traces; i++) run_trace(seed, first + i, steps);
  fflush(stdout);
  return 0;
}
