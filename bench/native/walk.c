/*
 * The walk of hmmRangeSnapshot (src/hmm/page-walk.ts, src/hmm/walk.ts) in C, over a copy of the kernel heap: what native-walk.ts compares ours with.
 *
 *     walk HEAP PGD START_PAGE PAGES VALID WRITE PFN_SHIFT WALKS
 *
 * prints the nanoseconds of a walk and a checksum of the entries that it wrote. Page-table entries are read with relaxed atomic loads, each
 * once: in the real thing other threads change them meanwhile, and a kernel reads them so too (READ_ONCE).
 */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PRESENT = 0x01, WRITABLE = 0x02, SPECIAL = 0x10, PTE_PFN_SHIFT = 8, MID_SHIFT = 20, LEAF_SHIFT = 9 };
enum { MID_WORDS = 2048, LEAF_WORDS = 512 };

struct encoding {
    uint32_t valid, write, pfn_shift;
};

static inline uint32_t read_once(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* What is no plain page: nothing there, or the zero page. */
static uint32_t entry_of(uint32_t pte, const struct encoding *e)
{
    if (!(pte & PRESENT)) return 0;
    return ((pte >> PTE_PFN_SHIFT) << e->pfn_shift) | e->valid | (pte & WRITABLE ? e->write : 0);
}

static void snapshot_leaf(const uint32_t *ptes, uint32_t count, uint32_t *pfns, const struct encoding *e)
{
    const uint32_t valid = e->valid, write = e->write, shift = e->pfn_shift;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t pte = read_once(ptes + i);
        if ((pte & (PRESENT | SPECIAL)) == PRESENT)
            pfns[i] = ((pte >> PTE_PFN_SHIFT) << shift) | (pte & WRITABLE ? valid | write : valid);
        else
            pfns[i] = entry_of(pte, e);
    }
}

static void walk(const uint32_t *words, uint32_t pgd, uint32_t start, uint32_t pages, uint32_t *pfns, const struct encoding *e)
{
    static const uint32_t empty[LEAF_WORDS];
    for (uint32_t page = start; page < start + pages;) {
        uint32_t next = (page / LEAF_WORDS + 1) * LEAF_WORDS;
        uint32_t end = next < start + pages ? next : start + pages;
        uint32_t mid = read_once(words + pgd + (page >> MID_SHIFT));
        uint32_t leaf = mid ? read_once(words + mid + ((page >> LEAF_SHIFT) & (MID_WORDS - 1))) : 0;
        const uint32_t *ptes = leaf ? words + leaf + (page & (LEAF_WORDS - 1)) : empty;
        snapshot_leaf(ptes, end - page, pfns + (page - start), e);
        page = end;
    }
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 9) return 2;
    int file = open(argv[1], O_RDONLY);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) return 1;
    const uint32_t *words = mmap(NULL, info.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (words == MAP_FAILED) return 1;
    uint32_t pgd = strtoul(argv[2], NULL, 10), start = strtoul(argv[3], NULL, 10), pages = strtoul(argv[4], NULL, 10);
    struct encoding e = { strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10), strtoul(argv[7], NULL, 10) };
    uint32_t walks = strtoul(argv[8], NULL, 10);
    uint32_t *pfns = malloc(pages * sizeof *pfns);
    if (!pfns) return 1;

    for (uint32_t i = 0; i < 3; i++) walk(words, pgd, start, pages, pfns, &e);
    double begin = now_ns();
    for (uint32_t i = 0; i < walks; i++) {
        walk(words, pgd, start, pages, pfns, &e);
        __asm__ volatile("" : : "r"(pfns) : "memory"); /* each walk's entries count as read */
    }
    double ns = (now_ns() - begin) / walks;

    uint32_t hash = 0x811c9dc5;
    for (uint32_t i = 0; i < pages; i++) hash = (hash ^ pfns[i]) * 0x01000193;
    printf("%.1f %x\n", ns, hash);
    return 0;
}
