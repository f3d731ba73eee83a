/*
 * The running kernel's own calls, for bench/native-calls.ts: `calls WHAT PAGES` does WHAT to so many
 * pages of private memory without huge pages, and prints nanoseconds a page. For `mmap` and `munmap`,
 * PAGES is the number of mappings of one page, and of calls.
 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096ul

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static unsigned char *map(size_t bytes) {
    unsigned char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) fail("mmap");
    if (madvise(at, bytes, MADV_NOHUGEPAGE) != 0) fail("madvise");
    return at;
}

static void store_each(unsigned char *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += PAGE_BYTES) *(volatile uint32_t *)(at + i) = 1;
}

static void load_each(unsigned char *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += PAGE_BYTES) (void)*(volatile uint32_t *)(at + i);
}

/* Neighbours differ in protection, so that they do not merge. */
static double single_pages(size_t count, int unmaps) {
    void **at = malloc(count * sizeof *at);
    if (!at) fail("malloc");
    double begin = now_ns();
    for (size_t i = 0; i < count; i++) {
        int protection = i % 2 ? PROT_READ : PROT_READ | PROT_WRITE;
        at[i] = mmap(NULL, PAGE_BYTES, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at[i] == MAP_FAILED) fail("mmap");
    }
    double mapped = now_ns();
    for (size_t i = 0; i < count; i++)
        if (munmap(at[i], PAGE_BYTES) != 0) fail("munmap");
    return unmaps ? now_ns() - mapped : mapped - begin;
}

/* The time of fork(2) in the parent, or of a store to each page in the child. */
static double in_child(unsigned char *at, size_t bytes, int stores) {
    int channel[2];
    if (pipe(channel) != 0) fail("pipe");
    double begin = now_ns();
    pid_t child = fork();
    double forked = now_ns() - begin;
    if (child < 0) fail("fork");
    if (child == 0) {
        double start = now_ns();
        if (stores) store_each(at, bytes);
        double stored = now_ns() - start;
        _exit(write(channel[1], &stored, sizeof stored) != sizeof stored);
    }
    double stored;
    if (read(channel[0], &stored, sizeof stored) != sizeof stored) fail("read");
    waitpid(child, NULL, 0);
    return stores ? stored : forked;
}

/* Pages of memory that another mapping has made: a load or a store of each. */
static double again(size_t bytes, int stores) {
    int fd = memfd_create("calls", 0);
    if (fd < 0 || ftruncate(fd, bytes) != 0) fail("memfd_create");
    unsigned char *before = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (before == MAP_FAILED) fail("mmap");
    store_each(before, bytes);
    if (munmap(before, bytes) != 0) fail("munmap");
    unsigned char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail("mmap");
    double begin = now_ns();
    if (stores) store_each(at, bytes);
    else load_each(at, bytes);
    return now_ns() - begin;
}

static double whole(const char *what, size_t bytes) {
    if (strcmp(what, "again-load") == 0) return again(bytes, 0);
    if (strcmp(what, "again-store") == 0) return again(bytes, 1);
    unsigned char *at = map(bytes);
    if (strcmp(what, "touch-load") != 0 && strcmp(what, "touch-store") != 0) store_each(at, bytes);
    if (strcmp(what, "fork") == 0) return in_child(at, bytes, 0);
    if (strcmp(what, "copy") == 0) return in_child(at, bytes, 1);
    void *place = strcmp(what, "mremap") == 0 ? map(bytes) : NULL;
    double begin = now_ns();
    if (strcmp(what, "touch-load") == 0) load_each(at, bytes);
    else if (strcmp(what, "touch-store") == 0) store_each(at, bytes);
    else if (strcmp(what, "unmap") == 0) {
        if (munmap(at, bytes) != 0) fail("munmap");
    } else if (strcmp(what, "dontneed") == 0) {
        if (madvise(at, bytes, MADV_DONTNEED) != 0) fail("madvise");
    } else if (strcmp(what, "mprotect") == 0) {
        if (mprotect(at, bytes, PROT_READ) != 0) fail("mprotect");
    } else if (strcmp(what, "mremap") == 0) {
        if (mremap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED) fail("mremap");
    } else {
        fprintf(stderr, "calls: '%s' is nothing that it does\n", what);
        exit(2);
    }
    return now_ns() - begin;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    size_t pages = strtoul(argv[2], NULL, 10);
    const char *what = argv[1];
    int is_single = strcmp(what, "mmap") == 0 || strcmp(what, "munmap") == 0;
    double ns = is_single ? single_pages(pages, what[1] == 'u') : whole(what, pages * PAGE_BYTES);
    printf("%.1f\n", ns / pages);
    return 0;
}
