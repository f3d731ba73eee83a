/* See trace-draw.h. */

#include "trace-draw.h"

#include <sys/mman.h>

/* Most pages of one call, unless it takes a whole mapping. */
enum { COUNT_MAX = 7 };

struct space spaces[SPACES];
uint64_t end_of_addresses;

/* splitmix64 */
static uint64_t random_state;

uint64_t next_random(void) {
  uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

int below(int n) { return (int)(next_random() % (uint64_t)n); }
bool chance(int percent) { return below(100) < percent; }
void seed_random(uint64_t seed, int number) {
  random_state = seed * 0x2545f4914f6cdd1dull + (uint64_t)number * 0xd1342543de82ef95ull;
  for (int i = 0; i < 8; i++) next_random();
}

char kind_at(int space, int page) {
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

int any_page(int space) {
  int page = below(WINDOW);
  for (int tries = 0; tries < 6 && kind_at(space, page) == '.' && !chance(20); tries++) page = below(WINDOW);
  return page;
}

int any_count(int space, int page) {
  int count = chance(30) ? pages_to_end(space, page) : 1 + below(COUNT_MAX);
  return count < WINDOW - page ? count : WINDOW - page;
}

uint64_t any_length(int pages) {
  uint64_t length = (uint64_t)pages * PAGE;
  return length > 0 && chance(15) ? length - (uint64_t)below(PAGE) : length;
}

uint64_t any_start(int page) {
  if (chance(2)) return BASE + (uint64_t)page * PAGE + (uint64_t)below(PAGE);
  if (chance(2)) return end_of_addresses + (uint64_t)below(3) * PAGE + (chance(30) ? 1 : 0);
  return BASE + (uint64_t)page * PAGE;
}

int any_protection(void) {
  int pick = below(8);
  return pick == 0 ? PROT_NONE : pick < 3 ? PROT_READ : PROT_READ | PROT_WRITE;
}

char protection_letter(int protection) {
  return protection == PROT_NONE ? 'n' : protection == PROT_READ ? 'r' : 'w';
}
