/**
 * @module mmu/soft-tlb
 * The software TLB: one thread's translations from pages to frames. Typed loads and stores go
 * through it; a hit takes nanoseconds. It serves the CPU's threads (the translator walks the mm's
 * page table) and the software device (its own table). The translator finds translations and takes
 * faults; the shootdown ends the validity of a translation (sync/primitives/shootdown.ts).
 *
 * Two levels. Each width remembers one translation for loads and one for stores (i32-access.ts,
 * store-tlb.ts). Behind them all widths share TLB_ENTRIES entries, direct-mapped by page number. An
 * entry carries the generation that its block of pages had BEFORE the table was walked, and serves
 * while the block still has it:
 *
 *   X1  The invalidator clears the entry of the page table, then raises the generation (flush).
 *       Only after that may the frame be reused.
 *   X2  A translator reads the page table after the TLB has read the generation.
 *   X3  A load reads the data, then the generation. Equal to the entry's: the value was read while
 *       the frame was still the page's.
 *
 *      loading thread                              invalidating thread
 *      --------------                              -------------------
 *      generation g read, table walked, cached
 *                                                  entry taken out of the table
 *      data read                                   generation := g + 1
 *                                                  frame freed, allocated, written by its new owner
 *      data read: the new owner's
 *      generation read: g + 1 [not g: the value is thrown away, the table walked anew]
 *
 *      The other order of the two reads would be wrong: generation read (g), everything on the
 *      right, data read, value believed.
 *
 *   X4  The second read must not overtake the first, on any CPU, and a fence would cost too much.
 *       So the index is computed from the value: `words[generationWord + (bits & zero)]`, where
 *       `zero` is 0 but the compiler cannot know it. Every CPU keeps the order of two reads when
 *       the address of the second depends on the value of the first. Compilers keep the order of
 *       reads of shared memory.
 *   X5  A store, and a read-modify-write, cannot be taken back. It marks its thread as inside,
 *       checks the generation, writes and leaves; a flush waits for all who are inside (S1 of
 *       sync/primitives/shootdown.ts).
 *
 * The generation words are read through the view of the heap that was current when the TLB was
 * made. The heap only grows, so an older, shorter view has the same words; and it covers these,
 * which existed already. A generation that wraps around by exactly 2^32 between two reads would not
 * be noticed.
 *
 * Each thread makes a TLB of its own. The owner ends its use before the space goes, or this
 * thread's place on the machine.
 */

import type { Machine } from "../memory/machine.ts";
import type { RamSection } from "../memory/frames/ram-section.ts";
import type { Ram } from "../memory/ram.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { bug } from "../sync/errors.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Shootdown } from "../sync/primitives/shootdown.ts";
import { checkRetry } from "./address.ts";
import {
  TLB_ENTRIES,
  TLB_ENTRY_MASK,
  ENTRY_GENERATION,
  ENTRY_GENERATION_WORD,
  ENTRY_INDEX,
  ENTRY_KEY,
  ENTRY_SHIFT,
  ENTRY_WORDS,
  NOT_A_GENERATION,
  NO_QUICK_KEY,
  quickKey,
} from "./tlb-entry.ts";
import { TRANSLATION_WRITABLE, type Translator } from "./translator.ts";

function emptyEntries(): Int32Array {
  const entries = new Int32Array(TLB_ENTRIES * ENTRY_WORDS);
  for (let at = 0; at < entries.length; at += ENTRY_WORDS) {
    entries[at + ENTRY_KEY] = NO_QUICK_KEY;
    entries[at + ENTRY_GENERATION_WORD] = NOT_A_GENERATION;
  }
  return entries;
}

export class SoftTlb {
  readonly memory: SharedMemory;
  readonly shootdown: Shootdown;
  /** The heap as it was when the TLB was made: for generation words only. */
  readonly words: Int32Array;

  /** By entry: page; NaN, which no address has and which equals nothing, in an empty one. */
  readonly pages: Float64Array = new Float64Array(TLB_ENTRIES).fill(Number.NaN);
  /** By entry: what tlb-entry.ts says. */
  readonly entries: Int32Array = emptyEntries();
  /** By entry: section of the frame; undefined in an empty one. */
  readonly sections: (RamSection | undefined)[] = Array.from(
    { length: TLB_ENTRIES },
    () => undefined,
  );
  readonly #writable: Uint8Array = new Uint8Array(TLB_ENTRIES);
  /** For quick keys (tlb-entry.ts): a number for each section object, never used twice. */
  readonly #numbers: WeakMap<RamSection, number> = new WeakMap<RamSection, number>();
  #numberCount = 0;
  #lastSection: RamSection | undefined = undefined;
  #lastNumber = 0;
  readonly #ram: Ram;
  readonly #translator: Translator;

  constructor(machine: Machine, shootdown: Shootdown, translator: Translator) {
    machine.memory.ensure(shootdown.at + 1);
    this.memory = machine.memory;
    this.words = machine.memory.words;
    this.shootdown = shootdown;
    this.#ram = machine.ram;
    this.#translator = translator;
  }

  /**
   * Drops every translation. For the end of the owner's use of the space: after it, the generation
   * words may belong to another object. The widths forget theirs, too (typed-memory.ts).
   */
  forget(): void {
    this.pages.fill(-1);
    this.entries.set(emptyEntries());
    this.sections.fill(undefined);
  }

  /**
   * The entry with a translation of `page`, writable if `write`. It was valid when it was checked
   * here; the caller checks its generation again. Throws what the translator throws.
   *
   * @stepped generation
   */
  find(page: number, write: boolean, address: number): number {
    const entry = page & TLB_ENTRY_MASK;
    const at = entry << ENTRY_SHIFT;
    if (
      this.pages[entry] === page &&
      this.words[this.entries[at + ENTRY_GENERATION_WORD]!] ===
        this.entries[at + ENTRY_GENERATION] &&
      (!write || this.#writable[entry] === 1)
    ) {
      return entry;
    }
    this.#fill(entry, page, write, address);
    return entry;
  }

  /** @stepped generation */
  #fill(entry: number, page: number, write: boolean, address: number): void {
    const generationWord = this.shootdown.generationWord(page);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const generation = atomicLoad(this.words, generationWord); // X2: before the walk
      const answer = this.#translator.translate(page, write, address);
      const writable = answer & TRANSLATION_WRITABLE;
      const pfn = answer >>> 1;
      if (write && writable === 0)
        bug(`Cannot store to page ${page}: the translator answered with a read-only translation`);
      const section = this.#sectionUnless(pfn, generationWord, generation);
      if (section === undefined) continue;
      this.sections[entry] = section;
      const at = entry << ENTRY_SHIFT;
      this.entries[at + ENTRY_KEY] = quickKey(page, this.#numberOf(section));
      this.entries[at + ENTRY_INDEX] = section.wordIndex(pfn);
      this.entries[at + ENTRY_GENERATION_WORD] = generationWord;
      this.entries[at + ENTRY_GENERATION] = generation;
      this.#writable[entry] = writable;
      this.pages[entry] = page;
      return;
    }
  }

  #numberOf(section: RamSection): number {
    if (section === this.#lastSection) return this.#lastNumber;
    const number = this.#numbers.get(section) ?? ++this.#numberCount;
    this.#numbers.set(section, number);
    this.#lastSection = section;
    this.#lastNumber = number;
    return number;
  }

  /**
   * Undefined if the table has changed since the walk: then `pfn` may be no frame, and the caller
   * walks again.
   *
   * @stepped generation
   */
  #sectionUnless(pfn: number, generationWord: number, generation: number): RamSection | undefined {
    try {
      return this.#ram.sections.of(pfn);
    } catch (error) {
      if (atomicLoad(this.words, generationWord) !== generation) return undefined;
      throw error;
    }
  }
}
