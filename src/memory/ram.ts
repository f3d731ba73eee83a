/**
 * @module memory/ram
 * The RAM of a machine: page frames are allocated and copied here. Its parts are public, each with
 * the operations that it alone does:
 *
 * | part | idea | Linux |
 * | --- | --- | --- |
 * | `sections` | which buffers there are, and in which one a frame lies | `struct mem_section` |
 * | `refs` | references to frames, and pins | `get_page`, `pin_user_pages` |
 * | `allocator` | which frames are free | `mm/page_alloc.c` |
 *
 * Lock: ramLock, inside the parts.
 */

import { EINVAL, ENOMEM } from "../sync/errno.ts";
import type { Errno } from "../sync/errno.ts";
import { HmmError, bug } from "../sync/errors.ts";
import { EXPLORED } from "../sync/shared-memory.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import { access, doneNumber } from "../sync/tasks/task.ts";
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
  SECTION_ZERO,
  ZERO_PFN,
} from "./frames/ram-section.ts";
import type { RamSection, RamSectionHandle } from "./frames/ram-section.ts";
import { FramePins } from "./frames/frame-pins.ts";
import { copyPage, copyPages, dataStep, zeroPage } from "./frames/page-data.ts";
import { RamSnapshot } from "./frames/ram-snapshot.ts";
import { GRANULE_PAGES, SECTION_RECORDS_WORDS, roundUpGranule } from "./frames/section-records.ts";
import { Sections } from "./frames/sections.ts";
import type { Struct, StructView } from "./layout/struct.ts";
import { embed, pointer, struct, u32 } from "./layout/struct.ts";

export { PAGE_BYTES, PAGE_WORDS, ZERO_PFN } from "./frames/ram-section.ts";

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

/** Frames that `allocFrames` takes in a row: those of a huge page, an eighth of them, or one. */
const ROW_PAGES_MAX = 512;
const ROW_PAGES_MIN = 8;
const ROW_SHIFT = 3;

const RECORDS_BLOCK_WORDS = 4096;
const FREE_LISTS_BLOCK_WORDS = 4096;

/** Words of the heap that note frames which nobody knows yet; all 0: there are none. */
export interface FrameNotes {
  /** The first frame of a row, for `giveRun`. */
  readonly run: number;
  /** How many it has. */
  readonly runPages: number;
  /** One frame, for `FrameRefs.putLeft`. */
  readonly frame: number;
}

export const NO_NOTES: FrameNotes = { run: 0, runPages: 0, frame: 0 };

export class Ram {
  readonly memory: SharedMemory;
  readonly sections: Sections;
  readonly allocator: FrameAllocator;
  readonly refs: FramePins;
  /** Frames of the machine's own have numbers below this; those of users' buffers have others. */
  readonly ownEndPfn: number;
  readonly #totalPages: number;

  private constructor(core: RamCore) {
    this.memory = core.memory;
    this.#totalPages = core.totalPages;
    // the page of zeros comes first
    this.ownEndPfn = GRANULE_PAGES + roundUpGranule(core.totalPages);
    this.sections = new Sections(core.memory, core.lock, core.records);
    this.allocator = new FrameAllocator(core.memory, core.lock, core.freeLists, core.totalPages);
    this.refs = new FramePins(core.memory, this.sections, this.allocator);
  }

  /**
   * The RAM of a new machine, all of it free. The host commits a buffer's pages when they are
   * touched. Before other threads know of the heap.
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
    for (const handle of handles) ram.sections.adopt(handle);
    if (!ram.sections.hasOwnRam) {
      const text = "its handle is damaged, part of the machine's RAM is missing";
      throw new HmmError(EINVAL, "attach", `Cannot attach: ${text}; pass it on as it was given`);
    }
    ram.#setZones();
    return ram;
  }

  /**
   * A frame with count 1, or 0 for ENOMEM (A1 of frame-allocator.ts). Zeroed if asked; else it may
   * hold anything. With a `note`, a word of the heap, that notes it (`FrameRefs.putLeft`).
   *
   * @stepped
   */
  allocFrame(zeroed: boolean, note: number = 0): Task<number> {
    const pfn = this.allocFrameFast(zeroed, note);
    return pfn === 0 ? this.#allocFrameSlow(zeroed, note) : doneNumber(pfn);
  }

  /**
   * As `allocFrame`, for code that is not a task. 0 may also mean that the thread's free list is
   * empty; then call `allocFrame`.
   *
   * @stepped
   */
  allocFrameFast(zeroed: boolean, note: number = 0): number {
    const pfn = this.allocator.takeFast(note);
    if (pfn === 0) return 0;
    this.nameAllocated(pfn);
    this.#handOut(this.sections.of(pfn), pfn, zeroed);
    return pfn;
  }

  /** Tells an explorer that the frame is allocated; does nothing else. */
  nameAllocated(_pfn: number): void {}

  *nameAllocated$steps(pfn: number): Task<void> {
    yield* access(this.memory, "alloc", frameWord(pfn, 0), FRAME_WORDS, "frame");
  }

  *#allocFrameSlow(zeroed: boolean, note: number): Task<number> {
    const pfn = yield* this.allocator.take(note);
    if (pfn === 0) return 0;
    yield* access(this.memory, "alloc", frameWord(pfn, 0), FRAME_WORDS, "frame");
    this.#handOut(this.sections.of(pfn), pfn, zeroed);
    return pfn;
  }

  /**
   * The first of `pages` contiguous frames, each with a count of 1, and if asked with a pin besides
   * (P1 of frames/frame-pins.ts). Returns 0 also when enough frames are free, but not in one
   * aligned block of the next power of two. With a `runNote` that word is the number of the first
   * from the change on that takes them: of a dead thread, `giveRun` gives them back.
   */
  *allocRun(
    pages: number,
    zeroed: boolean,
    isPinned: boolean = false,
    runNote: number = 0,
  ): Task<number> {
    if (!Number.isInteger(pages) || pages <= 0)
      bug(`Cannot allocate a run of ${pages} frames: ask for a whole number of at least 1`);
    const startPfn = yield* this.allocator.takeRun(pages, runNote);
    if (startPfn === 0) return 0;
    yield* access(
      this.memory,
      "alloc",
      frameWord(startPfn + pages - 1, 0),
      pages * FRAME_WORDS,
      "frames",
    );
    const section = this.sections.of(startPfn);
    this.#handOut(section, startPfn, zeroed, pages, isPinned ? 1 : 0);
    return startPfn;
  }

  /**
   * Gives back frames in a row whose first is noted at `runNote`, from a thread that has died
   * before it used them: their counts may say anything.
   */
  *giveRun(pages: number, runNote: number): Task<void> {
    const startPfn = this.memory.words[runNote]!;
    const section = this.sections.of(startPfn);
    const first = section.frameIndex(startPfn);
    for (let i = 0; i < pages; i++) {
      section.frames[first + i * FRAME_WORDS + FRAME_COUNT] = 0;
      section.frames[first + i * FRAME_WORDS + FRAME_PINS] = 0;
    }
    yield* this.allocator.giveRun(startPfn, pages, runNote);
  }

  /**
   * Frames for `frames`, which is all 0: each with count 1, and not zeroed. As many as can be had
   * in rows. Those that stay 0 got none (ENOMEM). What is not in `frames` yet, `notes` note.
   */
  *allocFrames(frames: Uint32Array, notes: FrameNotes = NO_NOTES): Task<void> {
    const { words } = this.memory;
    let row = ROW_PAGES_MAX;
    for (let i = 0; i < frames.length;) {
      while (row > frames.length - i) row >>= ROW_SHIFT;
      const isRow = row >= ROW_PAGES_MIN;
      if (isRow && (yield* this.allocRow(frames.subarray(i, i + row), notes)) !== 0) {
        i += row;
      } else if (row >= ROW_PAGES_MIN) {
        row >>= ROW_SHIFT; // there is no row of that many
      } else {
        const pfn = yield* this.allocFrame(false, notes.frame);
        if (pfn === 0) return;
        frames[i] = pfn; // in a row (H1 of sync/lockdep/held-locks.ts)
        if (notes.frame !== 0) words[notes.frame] = 0;
        i++;
      }
    }
  }

  /**
   * The first of as many frames in a row as `frames` has, as of `allocRun`, not zeroed; or 0.
   * `frames` are they; until then `notes` note them.
   */
  *allocRow(frames: Uint32Array, notes: FrameNotes): Task<number> {
    const { words } = this.memory;
    const pages = frames.length;
    if (notes.run !== 0) words[notes.runPages] = pages;
    const first = yield* this.allocRun(pages, false, false, notes.run);
    for (let k = 0; k < (first === 0 ? 0 : pages); k++) frames[k] = first + k;
    if (notes.run !== 0) words[notes.run] = 0;
    return first;
  }

  /**
   * Copies a page with plain accesses. The caller keeps writers away from both frames, and holds a
   * reference to each.
   */
  copyFrame(fromPfn: number, toPfn: number): Task<void> {
    return this.#copy(fromPfn, toPfn, "read");
  }

  /**
   * `copyFrame` of `pages` frames in a row. At once, section by section, but for an explorer: page
   * by page it takes a tenth longer.
   */
  *copyRun(fromPfn: number, toPfn: number, pages: number): Task<void> {
    if (this.memory.mode === EXPLORED) {
      for (let i = 0; i < pages; i++) yield* this.copyFrame(fromPfn + i, toPfn + i);
      return;
    }
    for (let done = 0, count = 0; done < pages; done += count) {
      const [fromAt, toAt] = [fromPfn + done, toPfn + done];
      const [from, to] = [this.sections.of(fromAt), this.sections.of(toAt)];
      const ends = [from.basePfn + from.pages - fromAt, to.basePfn + to.pages - toAt];
      count = Math.min(pages - done, ...ends);
      copyPages(from, fromAt, to, toAt, count);
    }
  }

  /** Clears `pages` frames in a row, in one section, of which nobody else knows. */
  *clearRun(pfn: number, pages: number): Task<void> {
    const section = this.sections.of(pfn);
    for (let i = 0; i < pages; i++) {
      yield* dataStep(this.memory, "write", pfn + i);
      zeroPage(section, pfn + i);
    }
  }

  /**
   * As `copyFrame`, without a reference to the frame that is read: it may be freed and reused
   * meanwhile. The caller notices that afterwards (its range is not valid any more) and discards
   * the copy.
   */
  copyUnheldFrame(fromPfn: number, toPfn: number): Task<void> {
    return this.#copy(fromPfn, toPfn, "peek");
  }

  #copy(fromPfn: number, toPfn: number, kind: "read" | "peek"): Task<void> {
    const [from, to] = [this.sections.of(fromPfn), this.sections.of(toPfn)];
    return copyPage(this.memory, from, fromPfn, to, toPfn, kind);
  }

  /** The machine's own RAM. Exact while nobody allocates. */
  usage(): RamUsage {
    const totalPages = this.#totalPages;
    const freePages = this.allocator.freePages();
    return { totalPages, freePages, usedPages: totalPages - freePages };
  }

  /** All that the RAM holds, to be restored later. While no other thread uses it. */
  snapshot(): RamSnapshot {
    const sections = this.sections.known().filter(({ basePfn }) => basePfn !== ZERO_PFN);
    return new RamSnapshot(sections, this.sections.remember());
  }

  *#makeSections(totalPages: number): Task<Errno> {
    const errno =
      (yield* this.sections.make(SECTION_ZERO, 1)) ||
      (yield* this.sections.make(SECTION_OWNED, totalPages));
    if (errno !== 0) return errno;
    if (this.sections.of(ZERO_PFN).owned) bug("Cannot make the RAM: frame 0 is taken");
    for (const section of this.#setZones()) this.allocator.zones.fill(section);
    return 0;
  }

  #setZones(): RamSection[] {
    const owned = this.sections.known().filter((section) => section.owned);
    this.allocator.zones.set(owned);
    return owned;
  }

  /** Prepares allocated frames from `pfn` on. No other thread has their numbers yet. */
  #handOut(section: RamSection, pfn: number, zeroed: boolean, pages = 1, pins = 0): void {
    const { frames } = section;
    const first = section.frameIndex(pfn);
    for (let i = 0; i < pages; i++) {
      const index = first + i * FRAME_WORDS;
      const state = frames[index + FRAME_STATE]!;
      if (zeroed && (state & FRAME_USED_BEFORE) !== 0) zeroPage(section, pfn + i);
      frames[index + FRAME_STATE] = state | FRAME_USED_BEFORE;
      frames[index + FRAME_COUNT] = 1 + pins;
      frames[index + FRAME_PINS] = pins;
      frames[index + FRAME_MAPPING] = 0;
      frames[index + FRAME_INDEX] = 0;
    }
  }
}
