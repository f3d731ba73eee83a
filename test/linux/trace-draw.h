/* What the driver (trace.c) knows of the spaces, and what it draws: numbers, pages, lengths. */

#pragma once

#include "trace.h"

struct space {
  bool lives;
  uint64_t guest; /* where the kernel placed a mapping; 0 = there is none */
  int guest_pages;
  char map[2 * WINDOW + 1];
};

extern struct space spaces[SPACES];
extern uint64_t end_of_addresses;

/* Of trace `number` of `seed`. */
void seed_random(uint64_t seed, int number);
uint64_t next_random(void);
int below(int n);
bool chance(int percent);

/* As the map shows the page. */
char kind_at(int space, int page);

/* A page of the window; mostly one that is mapped. */
int any_page(int space);
/* Pages from `page` on, at most to the end of the window. */
int any_count(int space, int page);
/* In bytes: sometimes not whole pages. */
uint64_t any_length(int pages);
/* The page's address, or rarely one that is misaligned or lies at or past the end of addresses. */
uint64_t any_start(int page);
int any_protection(void);
char protection_letter(int protection);
