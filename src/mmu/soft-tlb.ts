/**
 * @module mmu/soft-tlb
 * The software TLB: what one thread remembers of one page table, so that typed loads and stores
 * take nanoseconds. It serves the CPU's threads (the mm's table) and the software device (its own
 * table). What the entries mean, and faults, are the translator's business; when a translation
 * stops being valid is the shootdown's (sync/primitives/shootdown.ts).
 *
 * Two things stand here, which all widths share:
 *
 * - for loads, a word for each page that was met, which says where the frame lies (page-words.ts);
 * - for stores and for what loads meet for the first time, the leaf of the page table for each
 *   block of 2 MiB. Any page of a block that was met before takes one read of the entry in the
 *   table itself, as a page walk of a processor does whose upper levels are cached.
 *
 *     address  43          31 30      21 20       12 11        0
 *             +--------------+----------+-----------+-----------+
 *             | far blocks   | near     | entry in  | offset in |
 *             |              | blocks   | the leaf  | the page  |
 *             +--------------+----------+-----------+-----------+
 *
 * Near blocks, those of addresses below 2 GiB, have a word each: the leaf, or 0. Mappings are
 * placed from the bottom up, so most programs need no others. Far blocks share FAR_BLOCKS words,
 * direct-mapped.
 *
 * Why a load does not read the entry in the table: it did, and was 130 instructions. A processor
 * looks 512 instructions ahead, so it had four loads under way where it has twenty of a typed
 * array, and random loads took 4 to 6 times as long. Now it is 51. What they are: 4 for each array
 * that is read (its address in two parts, its length, its field), one or two for each test. So
 * nothing that could be merged is tested twice: the alignment with the bounds of the near pages
 * (the address is turned by its lowest bits, and one compare refuses both), the section with the
 * word of the page, the generations of all blocks with the epoch.
 *
 * A leaf and a page word were looked up under a generation: the one that the block had BEFORE the
 * table was walked. They serve while the block still has that one:
 *
 *   X1  The invalidator takes the entry out of the page table, then raises the generation (flush),
 *       and only after that may the frame be given to someone else. A leaf is treated the same (W3
 *       of radix-table.ts).
 *   X2  The page table is walked after the TLB has read the generation.
 *   X3  A load reads the data, then the epoch. Equal to the one under which the page word is
 *       believed (X7): the value was read while the frame was still the page's.
 *
 *      loading thread                              invalidating thread
 *      --------------                              -------------------
 *      epoch e, generation g read, table
 *      walked, page word kept
 *                                                  entry taken out of the table
 *                                                  generation := g + 1, epoch := e + 1
 *                                                  frame freed, allocated, written by its new owner
 *      data read: the new owner's
 *      epoch read: e + 1 [not e: the value is thrown away, the generation read, the table walked]
 *
 *      The other order of the two reads would be wrong: epoch read (e), everything on the right,
 *      data read, value believed.
 *
 *   X4  The last read must not overtake the one before, on any CPU, and no fence can be had for
 *       nanoseconds. So its index is computed from the value: `epochWord[bits & zero]`, where
 *       `zero` is 0 but the compiler cannot know it. Every CPU keeps the order of reads of which
 *       one's address depends on the other's value. Compilers keep the order of reads of shared
 *       memory by themselves.
 *   X5  A store, and a read-modify-write, cannot be taken back. It marks its thread as inside,
 *       checks the generation, reads the entry, writes and leaves; a flush waits for all who are
 *       inside (S1 of sync/primitives/shootdown.ts).
 *   X6  A width's stores remember the section that they met last. They use it for every entry whose
 *       frame number lies in it, without checking that the number still stands for that section:
 *       the numbers of a removed section may have been given to another one. So whoever installs
 *       entries of a section that can be removed, a user's buffer, flushes the place before, or has
 *       just unmapped what was there, which flushes each leaf that a thread may know; and whoever
 *       finds a generation changed forgets all sections. Page words need neither: each was looked
 *       up under its own generation.
 *   X7  The epoch is raised after the generations, at every flush. A thread that finds a new epoch
 *       reads it, then every generation under which it keeps something, and drops what was kept
 *       under another one. Only then does it believe page words under the new epoch.
 *
 *      looking thread                              invalidating thread
 *      --------------                              -------------------
 *                                                  entry taken out of the table
 *                                                  generation := g + 1
 *      epoch e read, generation g + 1 read:
 *      page word dropped
 *                                                  epoch := e + 1
 *      epoch read by the next load: e + 1, so it looks once more, and drops nothing
 *
 *      The other order on the right would be wrong: epoch := e + 1; on the left e + 1 read,
 *      generation g read, page word kept; generation := g + 1, frame freed; and no load looks
 *      again.
 *
 * The words are read through a view of the heap that reaches every leaf that is kept here. A leaf
 * beyond it brings a longer view, for all widths. A generation or an epoch that wraps around by
 * exactly 2^32 between two reads would go unnoticed.
 *
 * Not for use by two threads: each makes its own. Not for use after the space or this thread's
 * place on the machine is gone: the owner sees to that.
 */

import type { Machine } from "../memory/machine.ts";
import { type FrameArrays, PAGE_BYTES, type RamSection } from "../memory/frames/ram-section.ts";
import { atomicLoad, speculativeLoad } from "../sync/atomics.ts";
import { accessDone, accessFrom } from "../sync/call-place.ts";
import { EXPLORED } from "../sync/shared-memory.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import {
  GENERATIONS,
  Shootdown,
  generationIndex,
  letGoIfAsked,
  letGoOfMark,
} from "../sync/primitives/shootdown.ts";
import { checkRetry, pageOf } from "./address.ts";
import { NEAR_PAGES, PageWords } from "./page-words.ts";
import {
  ENTRY_PFN_SHIFT,
  ENTRY_READABLE,
  LEAF_SHIFT,
  LEAF_WORDS,
  TASK_SIZE_PAGES,
  leafOf,
  pteIndex,
} from "./radix-table.ts";
import type { Translator } from "./translator.ts";

/**
 * Stands for a generation word where no translation is remembered yet: the heap's first word, which
 * is never 0, while the generation that is remembered is. So the first access fails the check of
 * the generation and takes the slow path.
 */
export const NOT_A_GENERATION = 0;

/** Blocks of addresses below 2^31. A multiple of GENERATIONS, as FAR_BLOCKS. */
const NEAR_BLOCKS = 1024;
const FAR_BLOCKS = 1024;
const NO_BLOCK = -1;
/** An execution of the checker makes a TLB of its own, for few pages. */
const EXPLORED_PAGES = 1024;

/** A width's stores, which remembers things of its own. */
export interface TlbUser {
  /** The heap is read through `words` from now on. */
  heapGrew(words: Int32Array): void;
  /** X6. */
  forgetSection(): void;
}

export class SoftTlb {
  readonly memory: SharedMemory;
  readonly translator: Translator;
  /** Word of generation 0. */
  readonly generationsAt: number;
  /** One word, the space's epoch (X7). */
  readonly epochWord: Int32Array;
  readonly pageWords: PageWords;
  /**
   * By near block: word index of its leaf, or 0. Behind them, by generation index: what all leaves
   * of such blocks were looked up under (X2). One array, because each array that compiled code
   * reads costs it four instructions before the first element.
   */
  readonly near: Int32Array = new Int32Array(NEAR_BLOCKS + GENERATIONS);
  /** The view of the heap that reaches all leaves, for widths that are being made. */
  words: Int32Array;
  /** What `find` has found: the section of the frame, and the frame's number in it. */
  section: RamSection | undefined = undefined;
  frame = 0;
  /**
   * What `aim` has found: the buffer of the frame, the frame's number in it, the address of the
   * page, and the epoch under which all that holds (X7).
   */
  arrays: FrameArrays | undefined = undefined;
  arraysFrame = 0;
  aimedBase: number = Number.NaN;
  aimedEpoch = 0;
  /** The section that `find` has found last (X6): `findAgain` finds only frames of it. */
  lastSection: RamSection | undefined = undefined;
  readonly #farBlocks: Int32Array = new Int32Array(FAR_BLOCKS).fill(NO_BLOCK);
  readonly #farLeaves: Int32Array = new Int32Array(FAR_BLOCKS);
  /** By generation: whether a leaf or a page word is kept under it. */
  readonly #isKept: Uint8Array = new Uint8Array(GENERATIONS);
  /** What was kept when the space's epoch was this still holds, but for `#drop`. */
  #epoch = 0;
  readonly #users: TlbUser[] = [];
  readonly #machine: Machine;

  constructor(machine: Machine, shootdown: Shootdown, translator: Translator) {
    const { memory } = machine;
    memory.ensure(shootdown.at + Shootdown.WORDS);
    this.memory = memory;
    this.words = memory.words;
    this.generationsAt = shootdown.at;
    this.epochWord = memory.words.subarray(
      shootdown.at + GENERATIONS,
      shootdown.at + Shootdown.WORDS,
    );
    this.pageWords = new PageWords(memory.mode === EXPLORED ? EXPLORED_PAGES : NEAR_PAGES);
    this.translator = translator;
    this.#machine = machine;
  }

  /** `user` is told from now on. */
  addUser(user: TlbUser): void {
    this.#users.push(user);
  }

  /**
   * Drops everything. For the end of the owner's use of the space, after which the generation words
   * may belong to somebody else. The widths forget theirs, too (typed-memory.ts).
   */
  forget(): void {
    this.near.fill(0, 0, NEAR_BLOCKS);
    this.#farBlocks.fill(NO_BLOCK);
    this.#isKept.fill(0);
    this.pageWords.release();
    this.section = undefined;
    this.lastSection = undefined;
  }

  /**
   * Finds what a load of `widthBytes` at `address`, by a method of `accessor`, may read: the index
   * of its element in `arrays`. The page word is set. Takes the fault if there is none. `tries`:
   * how often that has been done for this access already.
   *
   * All of this is one function, so long that V8 does not put it into loops of loads. There, of
   * several calls on the way that is not taken each one took registers from the way that is: in
   * order 2.3 ns instead of 1.8, doubles at random 4.1 instead of 3.5.
   *
   * @stepped generation
   */
  aim(address: number, widthBytes: number, accessor: object, tries: number): number {
    checkRetry(tries, address);
    const page = pageOf(address, widthBytes, accessor);
    accessFrom(accessor);
    const epoch = atomicLoad(this.words, this.generationsAt + GENERATIONS);
    if (epoch !== this.#epoch) {
      letGoOfMark(this.memory); // somebody may be waiting for it
      for (let i = 0; i < GENERATIONS; i++) {
        if (this.#isKept[i] === 0) continue;
        const generation = atomicLoad(this.words, this.generationsAt + i);
        if (generation !== this.near[NEAR_BLOCKS + i]) this.#drop(i, generation);
      }
      this.#epoch = epoch;
    }
    const word = this.pageWords.of(page);
    if (word === 0) {
      this.find(page, false, address);
      const { whole, wholePage } = this.section!; // set by find
      this.arrays = whole;
      this.arraysFrame = wholePage + this.frame;
      this.pageWords.set(page, whole, this.arraysFrame);
    } else {
      this.arrays = this.pageWords.arraysOf(word);
      this.arraysFrame = this.pageWords.frameOf(word, page);
    }
    accessDone();
    this.aimedBase = page * PAGE_BYTES;
    this.aimedEpoch = epoch;
    return (this.arraysFrame * PAGE_BYTES + (address - this.aimedBase)) / widthBytes;
  }

  /**
   * Finds a frame of `page` that an access may use, for stores if `write`: `section` and `frame`
   * say which, and `generationOf` under what. Takes the fault if there is none. Throws what the
   * translator throws.
   *
   * @stepped generation
   */
  find(page: number, write: boolean, address: number): void {
    const { translator } = this;
    const wanted = write ? translator.writeBits : ENTRY_READABLE;
    const generationAt = generationIndex(page);
    let faults = 0;
    letGoIfAsked(this.memory);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      // X2: before the walk.
      const generation = atomicLoad(this.words, this.generationsAt + generationAt);
      if (generation !== this.generationOf(page)) this.#drop(generationAt, generation);
      this.#isKept[generationAt] = 1;
      const entry = this.#entryOf(translator.root(), page);
      if ((entry & wanted) !== wanted) {
        letGoOfMark(this.memory);
        translator.fault(page, write, address, faults);
        faults++;
        continue;
      }
      const pfn = entry >>> ENTRY_PFN_SHIFT;
      const generationWord = this.generationsAt + generationAt;
      const section = sectionUnlessMoved(this.#machine, pfn, generationWord, generation);
      if (section === undefined) continue;
      this.section = section;
      this.lastSection = section;
      this.frame = pfn - section.basePfn;
      return;
    }
  }

  /**
   * As `find`, of a near page whose leaf is kept, if its frame lies in `lastSection`: the frame's
   * number there. Else -1, and `find` does it. The entry is read, not the generation: the caller
   * reads that after the data, as always (X3).
   *
   * @stepped generation
   */
  findAgain(page: number, write: boolean): number {
    const section = this.lastSection;
    const leaf = page < NEAR_PAGES ? this.near[page >> LEAF_SHIFT]! : 0;
    letGoIfAsked(this.memory);
    this.translator.root(); // throws for an owner who refuses
    if (leaf === 0 || section === undefined) return -1;
    const entry = speculativeLoad(this.words, pteIndex(leaf, page));
    const wanted = write ? this.translator.writeBits : ENTRY_READABLE;
    const frame = (entry >>> ENTRY_PFN_SHIFT) - section.basePfn;
    return (entry & wanted) === wanted && frame >= 0 && frame < section.pages ? frame : -1;
  }

  /** What the leaf of the page's block was looked up under, if it is kept. */
  generationOf(page: number): number {
    return this.near[NEAR_BLOCKS + generationIndex(page)]!;
  }

  /** @stepped generation */
  #entryOf(root: number, page: number): number {
    if (page >= TASK_SIZE_PAGES) return 0;
    const block = Math.floor(page / LEAF_WORDS);
    const far = block & (FAR_BLOCKS - 1);
    let leaf = 0;
    if (page < NEAR_PAGES) leaf = this.near[page >> LEAF_SHIFT]!;
    else if (this.#farBlocks[far] === block) leaf = this.#farLeaves[far]!;
    if (leaf === 0) {
      leaf = leafOf(this.memory, root, page);
      if (leaf === 0) return 0;
      if (this.memory.words !== this.words) this.#useHeap(this.memory.words);
      if (page < NEAR_PAGES) {
        this.near[page >> LEAF_SHIFT] = leaf;
      } else {
        this.#farBlocks[far] = block;
        this.#farLeaves[far] = leaf;
      }
    }
    return speculativeLoad(this.words, pteIndex(leaf, page));
  }

  #useHeap(words: Int32Array): void {
    this.words = words;
    for (const user of this.#users) user.heapGrew(words);
  }

  /**
   * The blocks of one generation have another one now: leaves and pages are unknown again. Whoever
   * has changed it may be waiting.
   *
   * @stepped generation
   */
  #drop(generationAt: number, generation: number): void {
    letGoOfMark(this.memory);
    this.near[NEAR_BLOCKS + generationAt] = generation;
    this.#isKept[generationAt] = 0;
    this.pageWords.drop(generationAt);
    for (let block = generationAt; block < NEAR_BLOCKS; block += GENERATIONS) this.near[block] = 0;
    for (let far = generationAt; far < FAR_BLOCKS; far += GENERATIONS)
      this.#farBlocks[far] = NO_BLOCK;
    this.lastSection = undefined;
    for (const user of this.#users) user.forgetSection();
  }
}

/**
 * The section of a frame number that was read from a page table. Undefined if the generation has
 * changed since: then the number may be no frame's, and the caller looks once more. Throws as
 * `Sections.of`.
 *
 * @stepped generation
 */
export function sectionUnlessMoved(
  { ram, memory }: Machine,
  pfn: number,
  generationWord: number,
  generation: number,
): RamSection | undefined {
  try {
    return ram.sections.of(pfn);
  } catch (error) {
    if (atomicLoad(memory.words, generationWord) !== generation) return undefined;
    throw error;
  }
}
