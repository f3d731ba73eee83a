/**
 * @module memory/ram
 * Page frames as the layers above use them: allocated, counted, pinned, copied, found by number;
 * and users' own buffers as further frames. Follows Linux `struct page` and `include/linux/mm.h`
 * (get_page, put_page, pin_user_pages). What is free is in frame-allocator.ts, which buffers there
 * are in frames/sections.ts.
 *
 *   F1  A frame of the machine's RAM is free exactly when its count is 0. Whoever allocates it has
 *       the first reference, whoever drops the last one frees it, in the same step.
 *   F2  A count is raised only by who holds a reference, or (`pageGetNotZero`) from a number other
 *       than 0. Anybody may ask the counts of a frame that he does not hold, even of a free one:
 *       they stay where they are. The answer is worth what the asker knows of the frame.
 *   F3  A pin is a reference that is also counted as a pin: the frame must not be moved, replaced
 *       or taken away meanwhile.
 *   F4  Frame 0 is the page of zeros: never written, not counted, always there. Frames of a user's
 *       buffer are counted all together, and a count of 0 frees none of them.
 *   F5  Over budget is an answer (0 for ENOMEM), exact even when other threads keep frames in their
 *       freeLists.
 */

import { atomicAdd, atomicCompareExchange, atomicLoad, atomicSub } from "../sync/atomics.ts";
import { ENOMEM } from "../sync/errno.ts";
import type { Errno } from "../sync/errno.ts";
import { bug } from "../sync/errors.ts";
import { EXPLORED, REAL } from "../sync/shared-memory.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import { DONE, access, doneBoolean, doneNumber } from "../sync/tasks/task.ts";
import type { Task } from "../sync/tasks/task.ts";
import { FrameAllocator, FREE_LISTS_WORDS } from "./frames/frame-allocator.ts";
import type { Heap } from "./heap/heap.ts";
import {
  FRAME_COUNT,
  FRAME_INDEX,
  FRAME_MAPPING,
  FRAME_PINS,
  FRAME_STATE,
  FRAME_USED_BEFORE,
  FRAME_WORDS,
  frameWord,
  SECTION_OWNED,
  SECTION_PAGES_MAX,
  SECTION_ZERO,
} from "./frames/ram-section.ts";
import type { RamSection, RamSectionHandle } from "./frames/ram-section.ts";
import { PINS_AFTER_COUNT } from "./frames/frame-counts.ts";
import { copyPage, poisonPage, zeroPage } from "./frames/page-data.ts";
import { RamSnapshot } from "./frames/ram-snapshot.ts";
import type { Shortage } from "./heap/shortage.ts";
import { type Receiver, SECTION_RECORDS_WORDS, Sections } from "./frames/sections.ts";
import type { Struct, StructView } from "./layout/struct.ts";
import { embed, pointer, struct, u32 } from "./layout/struct.ts";

export { PAGE_BYTES, PAGE_WORDS } from "./frames/ram-section.ts";

/** The page of zeros (F4). */
export const ZERO_PFN = 0;

interface RamCore extends StructView {
  readonly lock: Spinlock;
  records: number;
  freeLists: number;
  totalPages: number;
}

const RamCore: Struct<RamCore> = struct<RamCore>("ramCore", {
  lock: embed(Spinlock, "section records, the buddy lists of all sections", "ramLock"),
  records: pointer("const", "section records"),
  freeLists: pointer("const", "threads' free lists of frames (frame-allocator.ts)"),
  totalPages: u32("const", "the budget"),
});

export interface RamUsage {
  readonly totalPages: number;
  readonly freePages: number;
  readonly usedPages: number;
}

const RECORDS_BLOCK_WORDS = 4096;
const FREE_LISTS_BLOCK_WORDS = 4096;

export class Ram {
  readonly memory: SharedMemory;
  /**
   * Called in the thread that added or extended a user's section: the other threads need this
   * handle (`adoptSection`).
   */
  onSection: ((handle: RamSectionHandle) => void) | undefined;
  readonly #core: RamCore;
  readonly #sections: Sections;
  readonly #allocator: FrameAllocator;

  private constructor(core: RamCore) {
    this.memory = core.memory;
    this.#core = core;
    this.#sections = new Sections(core.memory, core.lock, core.records);
    this.#allocator = new FrameAllocator(core.memory, core.lock, core.freeLists, core.totalPages);
  }

  /**
   * The RAM of a new machine, all of it free. Buffers are reserved, not committed, until touched.
   * Before other threads know of the heap.
   */
  static *create(heap: Heap, totalPages: number): Task<Ram | Errno> {
    if (SECTION_RECORDS_WORDS > RECORDS_BLOCK_WORDS || FREE_LISTS_WORDS > FREE_LISTS_BLOCK_WORDS)
      bug("Cannot lay out the RAM's tables: raise their blocks");
    const records = yield* heap.allocWords(RECORDS_BLOCK_WORDS);
    const freeLists = yield* heap.allocWords(FREE_LISTS_BLOCK_WORDS);
    if (records === 0 || freeLists === 0) return ENOMEM;
    const core = yield* heap.singleton(RamCore, (view) => {
      view.lock.init();
      view.records = records;
      view.freeLists = freeLists;
      view.totalPages = totalPages;
    });
    const ram = new Ram(core);
    const failed = yield* ram.#makeSections(totalPages);
    return failed === 0 ? ram : failed;
  }

  /** In a further thread, with the handles of the machine's sections. */
  static *attach(heap: Heap, handles: readonly RamSectionHandle[]): Task<Ram> {
    const core = yield* heap.singleton(RamCore, () =>
      bug(
        "Cannot attach to the RAM: the machine has none; attach with the handle of a whole machine",
      ),
    );
    const ram = new Ram(core);
    for (const handle of handles) ram.#sections.adopt(handle);
    ram.#setZones();
    return ram;
  }

  /** Handles of all sections that this thread knows. */
  get handles(): RamSectionHandle[] {
    return this.#sections.known().map(({ handle }) => handle);
  }

  /**
   * Whether this thread has all of the section that begins at `basePfn`, or there is none any more.
   */
  isSectionHere(basePfn: number): boolean {
    return this.#sections.isHere(basePfn);
  }

  /**
   * Pages of the section that begins at `basePfn`, also where this thread has not been given it.
   * The section is in use, so it stays.
   */
  sectionPages(basePfn: number): number {
    return this.#sections.pagesAt(basePfn);
  }

  /**
   * Called when this thread needs a section that it was not given, or not in its present length:
   * may adopt what arrives meanwhile.
   */
  set receiveSections(receive: Receiver | undefined) {
    this.#sections.receive = receive;
  }

  /**
   * A frame with count 1, or 0 (F5). Zeroed if asked; else it may hold anything.
   *
   * @stepped
   */
  allocFrame(zeroed: boolean): Task<number> {
    const pfn = this.allocFrameFast(zeroed);
    return pfn === 0 ? this.#allocFrameSlow(zeroed) : doneNumber(pfn);
  }

  /**
   * As `allocFrame`, for code that is no task: 0 may also mean that the thread's free list is
   * empty, then ask `allocFrame`.
   *
   * @stepped
   */
  allocFrameFast(zeroed: boolean): number {
    const pfn = this.#allocator.takeFast();
    if (pfn === 0) return 0;
    this.nameAllocated(pfn);
    this.#handOut(this.section(pfn), pfn, zeroed);
    return pfn;
  }

  /** Says to an explorer that the frame's life begins; else nothing. */
  nameAllocated(_pfn: number): void {}

  *nameAllocated$steps(pfn: number): Task<void> {
    yield* access(this.memory, "alloc", frameWord(pfn, 0), FRAME_WORDS, "frame");
  }

  /**
   * As `pagePut`, for code that is no task, of a frame that it has just taken by
   * `allocFrameFast`: the place from which it came is free.
   */
  pagePutFast(pfn: number): void {
    if (this.pagePut(pfn) !== DONE)
      bug(`frame ${pfn} does not fit into the free list that it came from`);
  }

  /** What an explorer takes for it. */
  *pagePutFast$steps(pfn: number): Task<void> {
    yield* this.pagePut(pfn);
  }

  *#allocFrameSlow(zeroed: boolean): Task<number> {
    const pfn = yield* this.#allocator.take();
    if (pfn === 0) return 0;
    yield* access(this.memory, "alloc", frameWord(pfn, 0), FRAME_WORDS, "frame");
    this.#handOut(this.section(pfn), pfn, zeroed);
    return pfn;
  }

  /**
   * The first of `pages` frames in a row, each with a count of 1 of its own, or 0: also when so
   * many are free but not in one aligned block of the next power of two.
   */
  *allocRun(pages: number, zeroed: boolean): Task<number> {
    if (!Number.isInteger(pages) || pages <= 0)
      bug(`Cannot allocate a run of ${pages} frames: ask for a whole number of at least 1`);
    const startPfn = yield* this.#allocator.takeRun(pages);
    if (startPfn === 0) return 0;
    yield* access(
      this.memory,
      "alloc",
      frameWord(startPfn + pages - 1, 0),
      pages * FRAME_WORDS,
      "frames",
    );
    const section = this.section(startPfn);
    for (let pfn = startPfn; pfn < startPfn + pages; pfn++) this.#handOut(section, pfn, zeroed);
    return startPfn;
  }

  /** One more reference (F2). */
  pageGet(pfn: number): Task<void> {
    if (pfn === ZERO_PFN) return DONE;
    if (this.memory.mode === EXPLORED) return this.#getExplored(pfn);
    this.#get(pfn);
    return DONE;
  }

  /** One more reference, unless the frame is free. */
  pageGetNotZero(pfn: number): Task<boolean> {
    if (this.memory.mode === EXPLORED) return this.#getNotZeroExplored(pfn);
    return doneBoolean(this.#getNotZero(pfn));
  }

  /** Drops a reference. The last one frees the frame (F1, F4). */
  pagePut(pfn: number): Task<void> {
    if (pfn === ZERO_PFN) return DONE;
    if (this.memory.mode === EXPLORED) return this.#putExplored(pfn);
    return this.#isFreed(pfn, this.#drop(pfn)) ? this.#free(pfn) : DONE;
  }

  /**
   * References, pins included: a number that was true a moment ago, but who holds the only
   * reference reads 1. Of a frame of a user's buffer: those of all its frames, here and in the
   * functions below.
   *
   * @stepped frame count
   */
  pageCount(pfn: number): number {
    if (pfn === ZERO_PFN) return 1;
    const counts = this.#sections.countsOf(pfn);
    return atomicLoad(counts.words, counts.index(pfn));
  }

  /** Whether the frame has exactly so many references, pins included. */
  pageHas(pfn: number, references: number): Task<boolean> {
    if (this.memory.mode === EXPLORED) return this.#hasExplored(pfn, references);
    return doneBoolean(this.pageCount(pfn) === references);
  }

  /** A reference that is a pin (F3). Only for who holds a reference. Pairs with `pageUnpin`. */
  *pagePin(pfn: number): Task<void> {
    if (pfn === ZERO_PFN) return;
    yield* this.pageGet(pfn);
    this.#pin(pfn);
  }

  *pageUnpin(pfn: number): Task<void> {
    if (pfn === ZERO_PFN) return;
    const pins = this.#unpin(pfn);
    if (pins <= 0) bug(`Cannot unpin frame ${pfn}: it has no pins; unpin once for each pin`);
    yield* this.pagePut(pfn);
  }

  /**
   * Whether one page-table entry, the asker's, has a frame of private memory: it has one reference,
   * or pins (a frame is pinned only for its sole entry, and fork shares no pinned frame). May say
   * no for a moment while somebody holds a reference that is no entry's, never yes by mistake.
   */
  *pageAnonExclusive(pfn: number): Task<boolean> {
    return (yield* this.pagePinned(pfn)) || (yield* this.pageHas(pfn, 1));
  }

  /** Whether the frame has pins, a moment ago. */
  pagePinned(pfn: number): Task<boolean> {
    if (this.memory.mode === EXPLORED && pfn !== ZERO_PFN) return this.#pinnedExplored(pfn);
    return doneBoolean(this.#pins(pfn) > 0);
  }

  /**
   * Where the frame lies. Throws HmmError ENXIO for no frame, BufferNotHere (frames/sections.ts) if
   * this thread cannot reach it now.
   */
  section(pfn: number): RamSection {
    return this.#sections.of(pfn);
  }

  /** Index of the frame's first word in its section's `i32`, `u32` and `f32`. */
  wordIndex(pfn: number): number {
    return this.section(pfn).wordIndex(pfn);
  }

  /**
   * Copies a page with plain accesses. Who calls it keeps writers away from both, and holds a
   * reference of both.
   */
  copyFrame(fromPfn: number, toPfn: number): Task<void> {
    return copyPage(
      this.memory,
      this.section(fromPfn),
      fromPfn,
      this.section(toPfn),
      toPfn,
      "read",
    );
  }

  /**
   * As `copyFrame`, without a reference of the frame that is read: it may be freed and reused
   * meanwhile. The caller finds that out afterwards (a range that is not valid any more), and then
   * throws the copy away.
   */
  copyUnheldFrame(fromPfn: number, toPfn: number): Task<void> {
    return copyPage(
      this.memory,
      this.section(fromPfn),
      fromPfn,
      this.section(toPfn),
      toPfn,
      "peek",
    );
  }

  zeroFrame(pfn: number): void {
    zeroPage(this.section(pfn), pfn);
  }

  /**
   * A user's own buffer becomes a section, in place; whole pages only, a rest at the end stays
   * outside. Frame numbers are kept for `maxPages`, or what a growable buffer can grow to. Returns
   * the first frame, or EINVAL (no shared buffer, less than a page), EEXIST (added before: see
   * `sectionOfBuffer`), ENOMEM.
   */
  *addSection(buffer: SharedArrayBuffer, maxPages?: number): Task<number> {
    const section = yield* this.#sections.addBuffer(buffer, maxPages);
    if (typeof section === "number") return section;
    this.onSection?.(section.handle);
    return section.basePfn;
  }

  /** First frame of the section that this buffer object was added as in this thread, or 0. */
  sectionOfBuffer(buffer: SharedArrayBuffer): number {
    return this.#sections.ofBuffer(buffer)?.basePfn ?? 0;
  }

  /**
   * The section's memory has grown to the length of `buffer` (a WebAssembly.Memory has a new buffer
   * object then). EINVAL if it may not.
   */
  *extendSection(basePfn: number, buffer: SharedArrayBuffer): Task<Errno> {
    const section = yield* this.#sections.extend(basePfn, buffer);
    if (typeof section === "number") return section;
    this.onSection?.(section.handle);
    return 0;
  }

  /**
   * Forgets a user's section; the buffer is the user's again. EBUSY while one of its frames is
   * counted, EINVAL if there is no such section.
   */
  removeSection(basePfn: number): Task<Errno> {
    return this.#sections.remove(basePfn);
  }

  /**
   * A section that another thread added or extended arrives here. False: it was here, or is gone.
   */
  adoptSection(handle: RamSectionHandle): boolean {
    return this.#sections.adopt(handle);
  }

  /** The machine's own RAM. Exact while nobody allocates. */
  usage(): RamUsage {
    const { totalPages } = this.#core;
    const freePages = this.#allocator.freePages();
    return { totalPages, freePages, usedPages: totalPages - freePages };
  }

  /**
   * From now on explored tasks 1 to `count` each take from `pages` frames of their own
   * (frame-allocator.ts, A4). For who sets up an exploration, alone on the machine. False when
   * there are not so many.
   */
  stockRows(count: number, pages: number): boolean {
    return this.#allocator.stockRows(count, pages);
  }

  /** After `stockRows`: explored tasks get nothing while `shortage` is on. */
  useShortage(shortage: Shortage): void {
    this.#allocator.shortage = shortage;
  }

  /** All that the RAM holds, to be put back. While no other thread uses it. */
  snapshot(): RamSnapshot {
    const sections = this.#sections.known().filter(({ basePfn }) => basePfn !== ZERO_PFN);
    return new RamSnapshot(sections, this.#sections.remember());
  }

  /** References to all frames, pins included, and pins. Exact while nobody counts. For reports. */
  references(): { references: number; pins: number } {
    let references = 0;
    let pins = 0;
    for (const { basePfn, pages, counts } of this.#sections.known()) {
      if (basePfn === ZERO_PFN) continue;
      for (let pfn = basePfn; pfn < basePfn + (counts.areShared ? 1 : pages); pfn++) {
        references += counts.words[counts.index(pfn)]!;
        pins += counts.words[counts.index(pfn) + PINS_AFTER_COUNT]!;
      }
    }
    return { references, pins };
  }

  /** Free blocks outside the threads' free lists: frame number and order. For tests and reports. */
  freeBlocks(): { pfn: number; order: number }[] {
    return this.#allocator
      .freeBlocks()
      .map(({ basePfn, page, order }) => ({ pfn: basePfn + page, order }));
  }

  *#makeSections(totalPages: number): Task<Errno> {
    const zero = yield* this.#sections.make(SECTION_ZERO, 1);
    if (typeof zero === "number") return zero;
    if (zero.basePfn !== ZERO_PFN) bug("Cannot make the RAM: frame 0 is taken");
    for (let made = 0; made < totalPages; made += SECTION_PAGES_MAX) {
      const pages = Math.min(SECTION_PAGES_MAX, totalPages - made);
      const section = yield* this.#sections.make(SECTION_OWNED, pages);
      if (typeof section === "number") return section;
    }
    for (const section of this.#setZones()) this.#allocator.fill(section);
    return 0;
  }

  #setZones(): RamSection[] {
    const owned = this.#sections.known().filter((section) => section.owned);
    this.#allocator.setZones(owned);
    return owned;
  }

  /** The frame is ours alone: nobody else has its number yet. */
  #handOut(section: RamSection, pfn: number, zeroed: boolean): void {
    const { frames } = section;
    const index = section.frameIndex(pfn);
    const state = frames[index + FRAME_STATE]!;
    if (zeroed && (state & FRAME_USED_BEFORE) !== 0) zeroPage(section, pfn);
    frames[index + FRAME_STATE] = state | FRAME_USED_BEFORE;
    frames[index + FRAME_COUNT] = 1;
    frames[index + FRAME_PINS] = 0;
    frames[index + FRAME_MAPPING] = 0;
    frames[index + FRAME_INDEX] = 0;
  }

  /** @stepped frame count */
  #get(pfn: number): void {
    const counts = this.#sections.countsOf(pfn);
    const count = atomicAdd(counts.words, counts.index(pfn), 1);
    if (count <= 0 && counts.isOwned)
      bug(`Cannot get frame ${pfn}: it is free; hold a reference while using it`);
  }

  /** @stepped frame count */
  #getNotZero(pfn: number): boolean {
    if (pfn === ZERO_PFN) return true;
    const counts = this.#sections.countsOf(pfn);
    const { words } = counts;
    const index = counts.index(pfn);
    for (let count = atomicLoad(words, index); count > 0;) {
      const seen = atomicCompareExchange(words, index, count, count + 1);
      if (seen === count) return true;
      count = seen;
    }
    return false;
  }

  /** Returns how many there were. @stepped frame count */
  #drop(pfn: number): number {
    const counts = this.#sections.countsOf(pfn);
    return atomicSub(counts.words, counts.index(pfn), 1);
  }

  /**
   * Whether the frame, of which there were `count` references, is to be freed by who dropped one.
   */
  #isFreed(pfn: number, count: number): boolean {
    if (count > 1) return false;
    if (count <= 0) bug(`Cannot put frame ${pfn}: it is free already; put once for each get`);
    const counts = this.#sections.countsOf(pfn);
    if (!counts.isOwned) return false;
    if (atomicLoad(counts.words, counts.index(pfn) + PINS_AFTER_COUNT) > 0)
      bug(`Cannot free frame ${pfn}: it is pinned; unpin before the last put`);
    return true;
  }

  /** @stepped frame pins */
  #pin(pfn: number): void {
    const counts = this.#sections.countsOf(pfn);
    atomicAdd(counts.words, counts.index(pfn) + PINS_AFTER_COUNT, 1);
  }

  /** Returns how many there were. @stepped frame pins */
  #unpin(pfn: number): number {
    const counts = this.#sections.countsOf(pfn);
    return atomicSub(counts.words, counts.index(pfn) + PINS_AFTER_COUNT, 1);
  }

  /** @stepped frame pins */
  #pins(pfn: number): number {
    if (pfn === ZERO_PFN) return 0;
    const counts = this.#sections.countsOf(pfn);
    return atomicLoad(counts.words, counts.index(pfn) + PINS_AFTER_COUNT);
  }

  *#pinnedExplored(pfn: number): Task<boolean> {
    return this.#pins(pfn) > 0;
  }

  *#hasExplored(pfn: number, references: number): Task<boolean> {
    return this.pageCount(pfn) === references;
  }

  *#putExplored(pfn: number): Task<void> {
    if (!this.#isFreed(pfn, this.#drop(pfn))) return;
    // F2: not the counts.
    yield* access(this.memory, "free", frameWord(pfn, 0), FRAME_COUNT, "frame");
    yield* this.#free(pfn);
  }

  /**
   * Debug builds and explorers make what a frame held unreadable, so that a load through a stale
   * translation shows.
   *
   * @stepped
   */
  #free(pfn: number): Task<void> {
    if (this.memory.mode !== REAL) poisonPage(this.section(pfn), pfn);
    return this.#allocator.give(pfn);
  }

  *#getExplored(pfn: number): Task<void> {
    this.#get(pfn);
  }

  *#getNotZeroExplored(pfn: number): Task<boolean> {
    return this.#getNotZero(pfn);
  }
}
