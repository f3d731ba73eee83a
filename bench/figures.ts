/**
 * @module The figures, in the order of the table. Each is measured in a process of its own: see
 * main.ts.
 */

import type { Figure } from "./figure.ts";
import type { Width } from "./access-loops.ts";

/** In a process of its own each: a loop that has met several widths is compiled for all. */
function loadFigures(width: Width, suffix: string, plain: string): Figure[] {
  return [
    {
      name: `load${suffix}`,
      title: `\`space.${width}.load\` that hits, against a load of ${plain}`,
      bound: { kind: "at most", ratio: 4 },
      method:
        "In order over sets of 256 KiB to 1 GiB; over 256 KiB also in random order, and each load at the address that the one before it found.",
      lessons:
        "What a load is made of: some 50 instructions, of which each array that is read takes 4 before its element (the field, its address in two parts, its length). In order a processor does six of them in a cycle, and nothing else holds it up. A page that is remembered was tried as a shorter way for loads in order, and dropped: it is as long as the way through the page's word, and random loads paid for the test. It was 55 (4.0x; doubles 4.3x, addresses 4.9x) while a word held the number of a frame: now it holds how far the frame lies from its page, so that address and word are one addition. Tried and left out: no test for far and unaligned addresses, which have no word in the array; from the first of them on V8 compares index and length as doubles (6x). The zero that makes the last read wait for the value was a field; the lowest bits of the address do as well, and are at hand (3 %). A slow path too long for V8 to put it into the loop would take 3 % of a load of 4 bytes and 7 % of one of an address, but each load from 2 GiB on would be a call (6 ns become 9 to 14). Of that path only what finds a page is a call now, one where there were three (`aim` of mmu/soft-tlb.ts): V8 keeps what is needed after a call in memory on the way without the call, too. On an AMD EPYC words in order became 2.28 ns to 1.82, doubles at random 4.1 to 3.5; sums of doubles in order stay at 3.26, whatever a load is made of: the caller's sum goes through memory for the sake of that one call, and is added to after 10 cycles. A processor that renames memory (Intel's since Golden Cove) does not wait there. V8 spares a sum that only if it knows that the call is rare, which no code can tell it: what a `catch` does is rare to it, and a throw takes microseconds.",
      load: async () => (await import("./load-hits.ts")).loadHitsOf(width),
    },
    {
      name: `reach${suffix}`,
      title: `\`space.${width}.load\` from page to page, against a load of ${plain} in that order`,
      bound: { kind: "at most", ratio: 3 },
      method:
        "Sets of 1 MiB to 1 GiB: in random order, and each load at the address that the one before it found.",
      lessons:
        "A translation cache of 256 pages took 166 ns a load at 4 MiB and 350 at 256 MiB. Reading the entry in the page table instead took 16 and 115: there was no miss path, but a load was 130 instructions, and a processor that looks 512 instructions ahead has four such loads under way where it has twenty of an array. So what counts beyond the caches is the number of instructions, too. Now a thread keeps one word for each page that it has met, and looks at one word for all invalidations (mmu/soft-tlb.ts). Tried and left out: the page table's entry with that one word, 75 instructions (4.7x at 256 KiB, 3.7x at 1 MiB); each space's arrays as constants of code of its own (2.7x at 256 KiB, and 4.3x as soon as a second space is met); indices without a sign (slower: the check of the bounds is longer); without any check of the epoch, which would be wrong, a load would still take 2.3x at 256 KiB and 2.0x at 1 MiB. An address (`ptr`) is read as a double, whose halves pass through memory, and becomes a double again: some 10 instructions more. It was 16 (in order 4.9x) while the halves were read with a sign and made unsigned: V8 then tests each for the sign. The sum of doubles in these loops is a part of it: a call stands in the loop, for pages that are not known, so V8 keeps the sum on the stack, and a double that is stored and read back there takes 12 cycles a round, the whole of 2.9 ns in order; an integer takes none of them. Neither the bits of the value by a conversion in place of memory nor a slow path behind a conversion, which V8 puts at the end, has changed that.",
      load: async () => (await import("./load-hits.ts")).reachOf(width),
    },
  ];
}

export const figures: readonly Figure[] = [
  {
    name: "snapshot",
    title:
      "snapshot walk of 1 GiB of populated pages, against the same walk in C at -O2 over the same table",
    bound: { kind: "at most", ratio: 2 },
    method:
      "`hmmRangeSnapshot` over 262,144 entries, the mmap lock held; the C program maps a copy of the kernel heap and writes the same entries, and its checksum must be ours.",
    load: async () => (await import("./snapshot-walk.ts")).measureSnapshotWalk,
  },
  ...loadFigures("u32", "", "a Uint32Array"),
  ...loadFigures("f64", "-f64", "a Float64Array"),
  ...loadFigures("ptr", "-ptr", "a Float64Array of indices"),
  {
    name: "mappings",
    title:
      "`space.u32.load` of pages in two sections of RAM, of a read-only mapping and in a forked space, against the plain case",
    bound: { kind: "at most", ratio: 1.2 },
    method:
      "The plain case is a private anonymous mapping in a space with one section of RAM. All orders, over sets of 256 KiB to 256 MiB.",
    lessons:
      "Two arrays cost: a load that chooses between them is 14 instructions and 7 reads longer (1.25x to 1.3x), and where it may guess, it guesses wrong at random every second time (1.9x). So sections of RAM share buffers of 2 GiB, and their frames are elements of one array. Pages of a user's buffer among pages of RAM still take the longer way, all of them (mmu/page-words.ts).",
    load: async () => (await import("./load-mappings.ts")).measureMappings,
  },
  {
    name: "kernel-load",
    title:
      "`u32.load` of a kernel on the software device, everything resident, against a plain typed-array load",
    bound: { kind: "at most", ratio: 4 },
    method:
      "In order, in random order and as a chase of pointers, over sets of 256 KiB to 1 GiB that lie in device memory; both sides run in the device's thread, and no load faults.",
    lessons:
      "A kernel loads by the code by which a thread of the CPU does, over a TLB of its own, and costs the same (figures `load` and `reach`). What it pays besides is paid once a page: the first use of a copy marks it as used, through the fault handler.",
    load: async () => (await import("./kernel-accesses.ts")).measureKernelLoads,
  },
  {
    name: "kernel-store",
    title:
      "`u32.store` of a kernel on the software device, everything resident, against a plain typed-array store",
    bound: { kind: "at most", ratio: 6 },
    method:
      "In order and in random order, over the same sets, whose pages the device reaches in RAM, as for all stores.",
    load: async () => (await import("./kernel-accesses.ts")).measureKernelStores,
  },
  {
    name: "section",
    title: "`space.u32.store` in a section, against a plain typed-array store in that order",
    bound: { kind: "at most", ratio: 3 },
    method:
      "Sets of 256 KiB to 1 GiB, in order, at random, and each store to the word that was loaded last; the space's handle has been taken, so the section is marked.",
    lessons:
      "What counts is how many arrays a store reads. By the leaf and the entry of the page table it took 4x at random within 256 KiB; now a page is known once it has been stored to (mmu/known-pages.ts). A boolean that is tested in the loop costs five instructions, a number one; and a slow path that V8 puts into the loop costs the fast one half its speed. In order it was 3.8x while the loop computed its end anew for each store, with two checks of overflow, which a loop of loads does not. Tried and left out: the address turned by its lowest bits, as loads do, instead of a test of them together with the word that asks (as long, and sometimes longer); one table of known pages for the thread, which V8 takes for a constant (at random 2.45 ns became 2.30, at the price that two machines of a thread share it; in order nothing: eight instructions less change nothing there, and the same code takes 2.1 ns in one space and 1.5 in the next, so it is not their number that counts).",
    load: async () => (await import("./store-hits.ts")).measureSectionStores,
  },
  {
    name: "store",
    title: "`space.u32.store` alone, against a plain store between two `Atomics.store`s",
    bound: { kind: "at most", ratio: 1.5 },
    method: "Sets of 256 KiB to 1 GiB, in order and at random; the space's handle has been taken.",
    lessons:
      "Beside the two marks a store loads the generation atomically, 6 ns here: each of the three is a call in Node 20. Far from the caches the stores of a loop do not overlap as well as those of the plain side: the address is known only after the entry has been read, behind the mark.",
    load: async () => (await import("./store-hits.ts")).measureStoresAlone,
  },
  {
    name: "view",
    title: "inside a view, against a plain typed array",
    bound: { kind: "at most", ratio: 1 },
    method:
      "Sum of and copy within 2 MiB of doubles by a loop, in a write view and in a Float64Array over an ArrayBuffer.",
    load: async () => (await import("./view-loops.ts")).measureViewLoops,
  },
  {
    name: "view-open",
    title: "opening a write view over 1 GiB, against the 20 ns a page that were asked for",
    bound: { kind: "at most", ratio: 1 },
    method:
      "A mapping that nobody has touched, in frames never used; then again, when they lie in a row.",
    lessons:
      "Page by page it was 700 ns fresh (an entry emptied and filled, a copy that had nothing to copy, a pin, each by a generator) and 420 again. Now a page is 32 bytes of the frame table, and an entry; pins come with the frames (mm/view/view-populate.ts). Again, it was two atomic additions a page for the pin, 10 ns each, and a look before that; a frame with one reference is pinned by plain stores, which the mmap lock makes safe (P2 of memory/frames/frame-pins.ts). Fresh, a new leaf of the page table gets its entries by plain stores before it is linked: an atomic store of each took 8 ns. Again, the count is read plainly (an atomic load is a call, 4 ns), and an entry is tested by one compare of its bits: a name that a loop imports from another module costs seven instructions each time round, so the loops now import one function each (21 ns became 13). What is left of a fresh page is 12 ns for the host, which commits the frame table, and 5 to write a frame's 32 bytes in it. Where a page fault of the host takes 10 us and not half of one, as in some virtual machines, that is 130 ns and more: 0.01 faults for each page, 2,500 in all.",
    load: async () => (await import("./view-opens.ts")).measureViewOpens,
  },
  {
    name: "copy",
    title: "`space.read` and `space.write` of 256 MiB, against `Uint8Array.set`",
    bound: { kind: "at most", ratio: 1.2 },
    method: "`readSync` and `writeSync`, all pages there; `set` to and from a SharedArrayBuffer.",
    lessons:
      "Page by page it was 1.7x: a generator, a store's mark and two views of an array for each 4 KiB. Frames that follow each other are copied as one row of 64 pages at most, 14 us; a longer one would let an invalidation wait. A row costs 1 to 2 us beside the copy (of 16 pages: 1.3x where memory is fast; of 32 1.15x, of 64 1.08x, of 512 1.055x).",
    load: async () => (await import("./bulk-copies.ts")).measureBulkCopies,
  },
  {
    name: "touch",
    title:
      "first touch of 256 MiB through the fault path, against filling a fresh SharedArrayBuffer",
    bound: { kind: "at most", ratio: 3 },
    method:
      "mmap and one `space.u32.store` to each page, frames never used before. Against `fill` of all 256 MiB of a fresh buffer; against it once more with our pages filled too, so that both end with the same bytes; and against one store to each page of a fresh buffer.",
    load: async () => (await import("./first-touch.ts")).measureFirstTouch,
  },
  {
    name: "huge-walk",
    title:
      "snapshot and fault of 1 GiB in huge pages, by a device with pages of 2 MiB, against the same in small pages, by one with pages of 4 KiB",
    bound: { kind: "at most", ratio: 0.05 },
    method:
      "`hmmRangeSnapshot` and `hmmRangeFault` (for writing, all present), the mmap lock held. The third reading, not bound: a device with pages of 4 KiB over the huge pages.",
    lessons:
      "Of the 40 ns a huge page that this took, the memory was the least: the page's entry lies 2 KiB from the next one's, in few sets of the first cache. The way from the top table to the leaf, a division of page numbers for the place in `pfns`, and four calls that ask again what the range asks for made the rest. Whole huge pages that are asked for alike are read in a row of the middle table, in one loop (`readHugeRow` of hmm/walk/leaf.ts): 6 ns each, 8 to 13 on a busy machine.",
    load: async () => (await import("./huge-pages.ts")).measureHugeWalk,
  },
  {
    name: "huge-load",
    title: "`space.u32.load` at random over 1 GiB in huge pages, against a Uint32Array",
    bound: { kind: "at most", ratio: 2 },
    method: "4 million loads in one random order, each word met before.",
    lessons:
      "Loads from huge pages go by the words of small pages, as all do (mmu/page-words.ts): the same loads of a space without huge pages take as long. What one pays is the length of a load (figure `reach`): best of many short parts, 84 ns against 40, 2.1x. The reading is spread widely where other programs use the memory, and more of ours than of the plain side's, which has twice as many loads under way. Tried in a loop of its own: a word for each block of 2 MiB, 2 KiB in all in place of 1 MiB, took 8 % less (2.2x); looked at before the page's word, nothing less, and small pages 10 to 30 % more. So it is not the words that cost.",
    load: async () => (await import("./huge-pages.ts")).measureHugeLoad,
  },
  {
    name: "huge-touch",
    title: "first touch of 1 GiB in huge pages, against filling a fresh SharedArrayBuffer",
    bound: { kind: "at most", ratio: 1.15 },
    method: "mmap and one `space.u32.store` to each page of 4 KiB, frames never used before.",
    load: async () => (await import("./huge-pages.ts")).measureHugeTouch,
  },
  {
    name: "mmap-page",
    title: "mmap of one page, 60,000 mappings, against the running kernel's own in C",
    bound: { kind: "at most", ratio: 3 },
    method:
      "60,000 calls from an empty space on; neighbours differ in protection, so that they do not merge.",
    lessons:
      "It was 8.2x: a half of the time went into views of the nodes of the tree of mappings, three descents of which each met some seventeen. Nodes are pointers now, and a change goes up only as far as something changes: 8.1 us became 1.9. What is left is spread over some twenty generators and as many small objects.",
    load: async () => (await import("./kernel-calls.ts")).measureMmap,
  },
  {
    name: "munmap-page",
    title: "munmap of one page, 60,000 mappings, against the running kernel's own in C",
    bound: { kind: "at most", ratio: 2 },
    method: "The same 60,000 mappings, unmapped one by one in the order in which they were made.",
    lessons:
      "It was 4.0x and, among mappings that the caches hold, 8x; 7.8 us became 2.8 with the tree of pointers, 2.4 without the calls of notifiers that are not there and with plain functions for the heap. Then 2.0 (of processor time): a hole that widens raises the nodes above it and no more is looked at, where each node on the way to the root read both its sides; the first mapping is looked up once less. Then 12 % less: of the generators that only begin others (lock, free, remove) three are plain functions that give the task of the other, and an area that goes is not looked at through two views. Then 20 % less (of processor time; a call of mmap 5 %): a call passed eight generators beside as many tasks that had finished, now it passes three, for what only chose between two ways is a plain function that gives the task, and where no leaf of the page table covers the range there is nothing to begin (mm/entries/zap.ts). The fields of trees are objects of one class: as functions made for each field V8 did not put them into the loops that read them. A node keeps what does not change, so it is not logged either. What is left: the tree (a third, of which the log of old values is a fourth), the heap's slot, the lock's two marks.",
    load: async () => (await import("./kernel-calls.ts")).measureMunmap,
  },
  {
    name: "call-pages",
    title: "copy-on-write, fork, munmap and madvise, a page, against the running kernel's own in C",
    bound: { kind: "at most", ratio: 1.5 },
    method:
      "128 MiB of private memory, each page stored to before, no huge pages, frames that were used before.",
    lessons:
      "Fork made a generator for each page (3.5x); munmap gave each frame back by way of the thread's free list, with a turn of ramLock for every 31 (2.5x). Now both go through a leaf in a plain loop, and frames go back as sorted rows. A copy-on-write took 1.64x: a generator is 50 ns, and it made ten. What changes an entry, finds the handler and gives up the old frame, which the other space keeps, needs none: 3.0 us became 2.6. Engines copy shared typed arrays word by word, and fill them one element after the other; WebAssembly's memory.copy and memory.fill are memmove and memset (memory/frames/bulk-memory.ts): 3.2 us became 2.2 on a busy machine, 1.51x became 1.20x.",
    load: async () => (await import("./kernel-calls.ts")).measurePages,
  },
  {
    name: "call-touch",
    title: "first touch, mprotect and mremap, a page, against the running kernel's own in C",
    bound: { kind: "at most", ratio: 1.2 },
    method:
      "The same 128 MiB; mremap, 1 GiB; for orientation, memory that another mapping has made, the kernel's by `memfd_create`. The kernel moves whole page tables where both places lie alike in 2 MiB, and so do we.",
    lessons:
      "mremap entry by entry was 75x. With leaves that move as they are 128 MiB take 31 us when they are moved again and again, 1 ns a page as the kernel. Here they take 250 to 330 us, and that is neither the compiler nor the pages: it is the first call after all pages were zeroed and stored to, and finds neither its code nor its data in the processor's caches (after a read of 16 MiB 38 us, after a fill of 64 MiB 250, after a sleep of 5 ms 120). Any of our calls is some 200 us slower then; the kernel's own code is smaller. So is one of 4 MiB, after a fill of 64 MiB: 165 us at best where 1 GiB takes 300, and no more after 10,000 calls than after 400, when most of the call's functions are not compiled by the optimizing compiler yet. Read again: a move of 1 GiB that is made again and again takes 66 us (80 while it asked for a table of the new place leaf by leaf, and each leaf twice whether it is huge), a third of the kernel's, and after 262,144 stores 320 to 380. The figure began after 200 moves, when half of the code was not compiled, and told 700 and more; it begins after 5,000. The first use of pages that are there already, of a file's cache or of a user's buffer, was a fault each, 1.3 and 0.9 us, and of shared memory 1.4; now one fault maps those of its 64 KiB. A page is cleared by memory.fill: the first store took 0.85 us, and takes 0.5.",
    load: async () => (await import("./kernel-calls.ts")).measureTouches,
  },
  {
    name: "file",
    title: "reading a mapped file of 1 GiB in order through views, against `fs.readSync`",
    bound: { kind: "at least", ratio: 0.8 },
    method:
      "The file is in the host's cache, and not in the mapping's: each round maps it anew, opens views of 2 MiB, adds up all words, and unmaps it; after six such rounds. The other side reads 2 MiB after 2 MiB into a buffer and adds up the same words.",
    lessons:
      "In a profile of our side 46 % add up, 14 % are the reads themselves, and 29 % what a view needs beside them: a frame, an entry of the page cache and a pin for each page, 512 at a time under each lock, and for each 2 MiB a table of the cache, which is cleared. 4 % unmap. Runs are of 2 MiB already: a view is one read of the host. By turns in one process, on a busy machine, our side took 1.5 to 1.7 times the processor time of the other; its reads took a fifth longer and its sum a third, presumably because what lies between them takes the bytes out of the caches; no function of the rest has more than 2.4 %: a cleared table of the cache, pins given back, entries of the cache. Read again part by part, with clocks: the sum and the reads take the same time on both sides (145 and 72 ms). The last unmap took 38 ms, for it gave back 16 frames at a time, by way of the thread's free list; 64 at a time go as a row, and it takes 16. What is left is 24 ms for the views' pages, 10 to unpin them, each two atomic additions, and the unmap. The first six rounds, in which V8 compiles, take up to twice as long. A `using` in the loop of our side, compiled for Node 20, made the sum a fifth slower.",
    load: async () => (await import("./file-view.ts")).measureFileViews,
  },
  {
    name: "migrate-huge",
    title: "migration of huge pages to a device and back, against a plain copy of the bytes",
    bound: { kind: "at least", ratio: 0.7 },
    method:
      "The seven sizes of `benchmark_thp_migration` in Linux's HMM selftests, from 2 MiB on for the bound. Private memory, advised `hugepage` and touched, moves to a device's private memory and back. The other side copies as many bytes from one SharedArrayBuffer to another. Before that 2,500 trips of 2 MiB, in which V8 compiles what moves pages.",
    lessons:
      "A program's first migration runs in V8's interpreter: 10 ms of 2 MiB, and the tenth 2. Of the rest a half is the copy; what is left are loops over 512 pages, each with an atomic operation or two on the frame's count: references taken, pins looked at, entries read and written, references put, the device's list of free frames, the hint for eviction. Of 430 us for 2 MiB to the device on a busy machine 150 were the copy, 70 the call (a promise, a range that is registered and removed), 75 setup (25 of them the notifiers and the flush), 90 the end (50 to put the old frames, 10 for the entries). No other thread takes part, so there is nothing to wake and nothing to overlap with. Tried and left out: references put by one plain loop that looks neither up each frame's section nor sorts what is a row (3 %, less than the readings differ). Of pieces of 8 MiB in place of 2 a third less was expected, from a profile; best of many trips, 8 MiB take 3 % less. A piece costs little, then: it is the pages. Then frames are put in rows (no list of 512 numbers, no section looked up for each): 6 % less, in pairs on a busy machine, and 8 % in pages of 4 KiB. In a profile of that no function but the copy has more than 4 %: 2.5 % are the four stores of 512 entries, 1.6 the references, 2 the device's hints and its list. The hints by plain stores, and a look at entry 0 alone before the end, would give 2 % each, and have not been tried. With the copy at 77 us of 205, 0.7 would leave 33 us for all else. Then the migration took over the count that an entry has of its frame, in place of a reference of its own beside it: one pass less there, and one less at the end. Old frames of a huge page are put by one loop, whether it still is the migration's is asked of one entry, and what is looked up for a page is looked up once for 2 MiB. On an AMD EPYC, by turns with the code of before, after 2,500 trips: 219 us became 162 to the device, 188 became 146 back; 78 are the copy. After 100 trips it is half as fast, for V8 has compiled little of it: some 50 functions of the call run once each. A call of one page takes 45 us. On two faster processors, each size warmed, 2 MiB take 135 us there, of which 65 are the copy, and of 16 MiB each 2 MiB 146, of which 81 are. Of the rest 14 are atomic operations on entries and counts, half of them stores, and no function has more than 2 %. A part of a huge page goes another way than a whole one: after a few of them what was compiled for whole ones is compiled again, so each size has trips of its own before it is read. Then a call of one page: 28 us were 17. A record was made by spreading three objects into one (3 us), a walk read an empty page table of the device to its end (3), an array of 8 KiB was made that nobody reads, and the list of the device's memory by four closures. From 8 MiB on the copy now has 0.7 to 0.8 of the time; of 2 MiB half is still the call and its loops. Between two shared WebAssembly memories the host copies 2 MiB in 45 us in place of 70, if its engine knows modules of two memories: with Node 24 the ratio is 0.56 for 2 MiB, 0.77 for 4, 0.74 to 0.92 beyond; Node 20 has none.",
    load: async () => (await import("./migration.ts")).measureHugeMigration,
  },
  {
    name: "migrate-small",
    title: "the same in pages of 4 KiB",
    bound: { kind: "at least", ratio: 0.35 },
    method: "Advised `nohugepage`.",
    lessons:
      "Page by page it took 3.1 us, of which 0.8 are the copy: a generator for each of some ten steps of a page, a turn of a lock for each frame that is taken or put, a read section for each page that comes back. Now a row of pages takes its frames together (in a row, so that one copy does for all), and puts them together; 1.3 us (mm/migrate/fill-pages.ts, Q4 of mm/migration.ts). Then 10 % less: who moved gives up the entry's reference and the migration's at once, and frames that come back in order are not sorted. Then another 8 %: they are put in rows. Then the migration took over the entry's count of the frame, the frames of a leaf are put together, and where a device's frames lie is looked up once for 2 MiB: on an AMD EPYC, by turns with the code of before, 310 us for 2 MiB became 218 to the device, 249 became 198 back; 79 are the copy. A thread that touches pages in a device's memory in order brought them back one by one, 12 us a page; now as many come together as lie in RAM before the page (mm/migrate/stream-to-ram.ts): 0.7.",
    load: async () => (await import("./migration.ts")).measureSmallMigration,
  },
  {
    name: "threads",
    title:
      "speed-up of two threads that fault in one address space, over the speed-up of two that share nothing of ours",
    bound: { kind: "at least", ratio: 0.95 },
    method:
      "Two Workers touch 64 MiB each (32 of fresh frames), or one does; best of three. Frames used before: over two that run the same loop, each on a machine of its own. Fresh frames: over two that touch fresh SharedArrayBuffers.",
    lessons:
      "The readers of the mmap lock wrote one word at every fault, and its cache line went back and forth: 0.93 for frames used before. Now each writes a word of its own thread (sync/words/reader-word.ts). Of fresh frames the operating system commits each under a lock that it has for 2 MiB of a buffer: two threads that took 32 frames by turns from one such block had 0.85, and so have two that touch one SharedArrayBuffer by turns of 128 KiB. Now threads are refilled from different blocks (A5 of memory/frames/frame-allocator.ts). Nothing else that faults write is shared: frames come from the thread's own list, entries lie in cache lines of their own unless threads touch pages by turns, and the counters of a space lie in lanes, a cache line for each thread.",
    load: async () => (await import("./thread-faults.ts")).measureThreadFaults,
  },
  {
    name: "invalidation",
    title:
      "invalidation round trip to a device in another Worker, against a bare Atomics wait/notify ping-pong",
    bound: { kind: "at most", ratio: 2 },
    method:
      "The device's Worker loads one word all the time, or has just loaded it; a store, `madvise` or `munmap` by the main thread until it returns, and until the device sees the new value. The ping-pong is between the same two threads.",
    lessons:
      "The ping-pong itself is one of two numbers, 4 us or 38 us, sometimes both in one run: it has two wakes of a sleeping thread, and they cost what the woken processor needs to get up. So a ratio says little by itself, and the parts are rows. Until the call returned, 6 to 7 us: the notice and the letting go of a device that is awake. From there until the device saw the value, 17 to 39 us: its fault, the largest part, and what a bound would have to be met by. A ping-pong without sleeping, 0.26 us: what two processors need to see each other's stores.",
    load: async () => (await import("./invalidation.ts")).measureInvalidation,
  },
  {
    name: "device-start",
    title: "a device of two threads ready after `create`, against a bare Worker's start",
    bound: { kind: "at most", ratio: 5 },
    method: "Until `SoftwareDevice.create` is done; the bare Worker until its first message.",
    load: async () => (await import("./device-start.ts")).measureDeviceStart,
  },
  {
    name: "ranges",
    title:
      "invalidation of a page with 100 and 10,000 ranges registered elsewhere, against one with 1",
    bound: { kind: "at most", ratio: 1.5 },
    method:
      "Start and end through the notifiers, with a mirror whose driver does nothing; pages between the ranges.",
    lessons:
      "Ranges were a list: 10,000 of them cost 10,000 reads in each of start and end. Now they are an interval tree (hmm/range-tree.ts), the same body as that of the mappings. What grows with 10,000 is the way down, twice an invalidation: 14 nodes and the sides of some, 560 KiB in all. A search that goes down one side without calling itself where the other can have none took 3 % of the whole away.",
    load: async () => (await import("./range-invalidation.ts")).measureRangeInvalidation,
  },
  {
    name: "dispatch",
    title: "a dispatch of a kernel that does nothing, against a message to a Worker and back",
    bound: { kind: "at most", ratio: 3 },
    method:
      "A device of one thread, and a bare Worker that answers each message. Machines with 64 MiB and with 8 GiB of RAM.",
    lessons:
      "Each dispatch brings along what buffers there are. To look them up, both sides made views of all 128 records of sections, and the main thread a set of all granules of 2 MiB: 65 us on a busy machine, 125 with 8 GiB of RAM. Now a record is found by its place, a section's granules are passed over at once, and the handle goes along only if there is something new: 36 and 36. The rest is the statistics before and after, and the two messages.",
    load: async () => (await import("./dispatch.ts")).measureDispatch,
  },
  {
    name: "device-touch",
    title:
      "first use of pages by a kernel, page by page in order, against first touch by a CPU thread",
    bound: { kind: "at most", ratio: 6 },
    method:
      "32 MiB that a CPU thread has stored to; a kernel loads or stores one word of each page. The other side stores to as many pages of a new mapping, which get frames then.",
    lessons:
      "A fault of a device costs 6 to 20 us: a range, a walk, the driver's lock twice, and a sleeping thread where another serves. So what counts is how many there are. Copies were always made of what lies beside a page as well; a page that is used in RAM, for it is shared, or a buffer's, or because the device makes no copies, came alone. Now loads bring translations of what is there in the same 64 KiB, or more where much is used (policy/prefetch.ts), stores in order bring twice as much each time: 1,024 faults became 16, and 8; 6 to 20 us a page became 1. In memory that is full a store took its page alone, and another page left it alone: 160 us a page. Now the hand looks at 64 frames under one lock and one flush, pages that follow each other leave as one migration, some more than are wanted, and a stream takes pages ahead there, too: 4 to 6 us.",
    load: async () => (await import("./device-touch.ts")).measureDeviceTouch,
  },
  {
    name: "idle-device",
    title:
      "calls of the CPU in a space with a device that has none of their pages, against a space without one",
    bound: { kind: "at most", ratio: 3 },
    method:
      "One page each: in a space with a software device of one thread, which has not touched anything, and in one without a device.",
    lessons:
      "A call that changes a mapping tells each device twice, before and after. A device that had nothing there took 6 us of the call before: it read its empty page table to its end, 4,096 words, for an invalidation of one page. Now it stops where the range ends (`forEachLeaf`). What is left is a hundred small steps: the read section of the notifiers, the record that lets others end the invalidation of a dead thread, the driver's lock, and no function has more than 4 %.",
    load: async () => (await import("./idle-device.ts")).measureIdleDevice,
  },
  {
    name: "geocode",
    title:
      "geocode through the device's page table, against the same search on plain arrays in as many Workers",
    bound: { kind: "at most", ratio: 2.5 },
    method:
      "The same questions in the same order, two threads on either side, the tree of all cities; device memory for a quarter of the tree, and for all of it.",
    lessons:
      "Of processor time a question takes 1.04 us with everything resident, and 0.38 on plain arrays. 0.4 of the difference are records: 18 nodes and heads of leaves, and the places of 2.5 leaves, are copied before they are looked at, at 1 ns a double and 7 a record; a tenth less since the last read waits for the sum of the doubles, whose bits are taken once, and not for the bits of each. 0.13 are the four stores of the answer, each with a mark of its own, and 0.05 the clock, read twice over the bus. With a quarter of the memory faults add 0.1. Until the search had one place that loads, and wrote what waits by itself, V8 called the second load and two of three such writes, with addresses and squares as arguments, each an allocation (0.12). What made it slow before: 165 single loads a question (1.7 us; the old tree on plain arrays took 0.47); an address that is passed in a call, a double, so an allocation (0.25: what loads a record must be small enough that V8 puts it into the search, 920 bytes of bytecode in all); small functions of the search that therefore no longer fitted; words instead of doubles (0.08); an atomic load that looked its section up (0.04); and an eviction that took at once what had just been prefetched (four times as many faults).",
    load: async () => (await import("./geocode.ts")).measureGeocode,
  },
  {
    name: "checker",
    title:
      "exploring every interleaving: fib_bench(5), against 50,000 executions a second and a speed-up of 1.6x by two Workers",
    bound: { kind: "at least", ratio: 1 },
    method:
      "The optimal engine, every class once and none in vain (else the figure fails). Ratios are to what was asked for; the other rows are the time that Nidhugg has published for the program, on another machine, through ours.",
    lessons:
      "An execution of fib_bench(5) has 32 steps. Two Workers explore six parts that differ in when the third task first reads among the stores of the first; the parts are not of one size (together they allow 1.95x), and each Worker compiles for itself (0.5 s of processor time).",
    explores: true,
    load: async () => (await import("./checker.ts")).measureChecker,
  },
  {
    name: "webgpu-span",
    title: "spans of a kernel on the WebGPU device, all resident, against plain WebGPU",
    bound: { kind: "at most", ratio: 1.3 },
    method:
      "The same WGSL over a plain storage buffer and through `span_read`, 64 words a span, over 8 MiB, as often as it takes the plain one 25 ms, by 262,144 invocations; wall time of dispatch until it is over. Both sides of all these figures sleep between two turns of the event loop while they wait: in Node, Dawn asks in each turn.",
    lessons:
      "[WEBGPU.md](WEBGPU.md#what-it-costs) has the figures of a real GPU, and what was tried. Each reading says which adapter gave it.",
    load: async () => {
      const { SPAN, measureAccess } = await import("./webgpu-access.ts");
      return measureAccess(SPAN);
    },
  },
  {
    name: "webgpu-load",
    title: "coalesced loads of a kernel on the WebGPU device, all resident, against plain WebGPU",
    bound: { kind: "at most", ratio: 2 },
    method:
      "As `webgpu-span`, with `load_u32` at neighbouring addresses, in each round others: no data stays in the caches next to a core.",
    load: async () => {
      const { COALESCED, measureAccess } = await import("./webgpu-access.ts");
      return measureAccess(COALESCED);
    },
  },
  {
    name: "webgpu-random",
    title: "random loads of a kernel on the WebGPU device, all resident, against plain WebGPU",
    bound: { kind: "at most", ratio: 1.5 },
    method: "As `webgpu-span`, with `load_u32` at random addresses.",
    load: async () => {
      const { RANDOM, measureAccess } = await import("./webgpu-access.ts");
      return measureAccess(RANDOM);
    },
  },
  {
    name: "webgpu-random-2",
    title: "random loads on the WebGPU device from a pool of 2 buffers, against plain WebGPU",
    bound: { kind: "at most", ratio: 2.5 },
    method: "As `webgpu-random`; the pool has two buffers, and pages in both.",
    load: async () => {
      const { randomOf, measureAccess } = await import("./webgpu-access.ts");
      return measureAccess(randomOf(2));
    },
  },
  {
    name: "webgpu-random-4",
    title: "random loads on the WebGPU device from a pool of 4 buffers, against plain WebGPU",
    bound: { kind: "at most", ratio: 3.5 },
    method: "As `webgpu-random`; the pool has four buffers, and pages in each.",
    load: async () => {
      const { randomOf, measureAccess } = await import("./webgpu-access.ts");
      return measureAccess(randomOf(4));
    },
  },
  {
    name: "webgpu-direct",
    title: "a direct range of a kernel on the WebGPU device, all resident, against plain WebGPU",
    bound: { kind: "at most", ratio: 1.1 },
    method: "As `webgpu-load`, with the data bound as a plain array by `ranges`.",
    load: async () => {
      const { DIRECT, measureAccess } = await import("./webgpu-access.ts");
      return measureAccess(DIRECT);
    },
  },
  {
    name: "webgpu-sparse",
    title: "a kernel that reads 1 % of the pages, against uploading all of them by hand",
    bound: { kind: "at least", ratio: 25 },
    method:
      "1 GiB in shared memory, none of it on the device, which has 16 MiB; by hand: `writeBuffer` of everything in parts of 4 MiB, and a dispatch for each 128 MiB. The ratio is by hand to ours, after four dispatches that do not count.",
    load: async () => (await import("./webgpu-paging.ts")).measureSparse,
  },
  {
    name: "webgpu-stream",
    title: "a kernel that reads every page once, on demand, against upload and dispatch by hand",
    bound: { kind: "at least", ratio: 0.3 },
    method: "As `webgpu-sparse`, over 64 MiB, all of which fit. The ratio is by hand to ours.",
    load: async () => (await import("./webgpu-paging.ts")).measureStream,
  },
  {
    name: "webgpu-pure",
    title:
      "a pure kernel that reads every page once, on demand, against upload and dispatch by hand",
    bound: { kind: "at least", ratio: 0.3 },
    method: "As `webgpu-stream`, with the kernel declared pure: what missed is not undone.",
    load: async () => (await import("./webgpu-paging.ts")).measurePureStream,
  },
  {
    name: "webgpu-declared",
    title: "data that are streamed as declared ranges, against upload and dispatch by hand",
    bound: { kind: "at least", ratio: 0.9 },
    method:
      "256 MiB in shared memory, none of it on the device, in two dispatches with a range of 128 MiB each, as large as a binding may be by default; by hand: `writeBuffer` in parts of 4 MiB, and the same two dispatches. The ratio is by hand to ours.",
    load: async () => (await import("./webgpu-ranges.ts")).measureDeclared,
  },
  {
    name: "webgpu-tiles",
    title: "data four times as large as the memory, as declared ranges, against tiles by hand",
    bound: { kind: "at least", ratio: 0.8 },
    method: "As `webgpu-declared`, over 128 MiB in four dispatches, with memory for one of them.",
    load: async () => (await import("./webgpu-ranges.ts")).measureTiles,
  },
  {
    name: "webgpu-faults",
    title: "a dispatch of the WebGPU device with a batch of 256 faults, against one with none",
    bound: { kind: "at most", ratio: 3 },
    method:
      "One span a page; its pages are taken from the device by mprotect before. After 40 dispatches that do not count.",
    load: async () => (await import("./webgpu-paging.ts")).measureFaultBatch,
  },
  {
    name: "webgpu-chase",
    title: "pointers through a graph, half of it on the device: WebGPU against the software device",
    bound: { kind: "at least", ratio: 10 },
    method:
      "1,024 chasers of 64 steps each through a graph of 256 MiB, each step to another page at random; both devices have 128 MiB, which are full. The ratio is the software device's time to that of the WebGPU device. Meant for a real GPU.",
    load: async () => (await import("./webgpu-chase.ts")).measureChase,
  },
  {
    name: "webgpu-chain",
    title: "a chain of dispatches whose pages stay on the GPU, against copies to RAM each time",
    bound: { kind: "at most", ratio: 1 },
    method:
      'Two devices, `memory: "private"` and `"ram"`, each with room for all pages and backups.',
    load: async () => (await import("./webgpu-chain.ts")).measureChain,
  },
  {
    name: "webgpu-backups",
    title: "a kernel that stores to all of its pages, against the same without a way back",
    bound: { kind: "at most", ratio: 1.3 },
    method:
      'In place over 8 MiB, all resident, `memory: "private"`: each dispatch copies the pages aside on the GPU. By hand: the fast pass of the same kernel through a page table, and a map of its verdict. For orientation, with `memory: "ram"`, where RAM has the backups, and what was stored is read back.',
    load: async () => (await import("./webgpu-backups.ts")).measureBackups,
  },
  {
    name: "webgpu-memory",
    title:
      "the host's memory while the WebGPU device works on data larger than its own, over the data",
    bound: { kind: "at most", ratio: 1.2 },
    method:
      "256 MiB are read and changed through 16 MiB; the most that the process has had, less what it had before the data, when the device and all of its memory were there.",
    load: async () => (await import("./webgpu-memory.ts")).measureHostMemory,
  },
];
