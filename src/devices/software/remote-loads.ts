/**
 * @module devices/software/remote-loads
 * Atomic loads: from the frame in RAM, never from a copy, sequentially consistent with every store and atomic of CPU threads and devices. A read-modify-write that changes nothing would do as well, but
 * each takes the cache line away from all other processors: on a word that many threads look at, such as a clock, that costs several times the load.
 *
 * The protocol is that of memory/translation.ts: the generation is read before the page table is walked (X2), the data before the generation (X3); both reads are atomic, so they
 * keep their order. One translation is remembered. Of one thread; no locks.
 */

import { checkRetry, pageOf } from "../../memory/access.ts";
import type { Machine } from "../../memory/machine.ts";
import type { RamSection } from "../../memory/ram-section.ts";
import type { Translator } from "../../memory/translation.ts";
import { PAGE_BYTES } from "../../mm/pte.ts";
import { atomicLoad } from "../../sync/atomics.ts";
import type { Shootdown } from "../../sync/shootdown.ts";

export class RemoteLoads {
  readonly #machine: Machine;
  readonly #shootdown: Shootdown;
  readonly #translator: Translator;
  #page = -1;
  #generationWord = 0;
  #generation = 0;
  #section: RamSection;
  /** Of the frame's first 32-bit word. */
  #wordIndex = 0;

  constructor(machine: Machine, shootdown: Shootdown, translator: Translator) {
    this.#machine = machine;
    this.#shootdown = shootdown;
    this.#translator = translator;
    this.#section = machine.ram.section(0);
  }

  /** Drops the translation that is remembered. */
  forget(): void {
    this.#page = -1;
  }

  /** @stepped data */
  load32(address: number): number {
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const offset = this.#aim(address, 4);
      const value = atomicLoad(this.#section.i32, this.#wordIndex + offset / 4);
      if (this.#isInForce()) return value;
    }
  }

  /** @stepped data */
  load16(address: number): number {
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const offset = this.#aim(address, 2);
      const value = atomicLoad(this.#section.u16, this.#wordIndex * 2 + offset / 2);
      if (this.#isInForce()) return value;
    }
  }

  /** @stepped data */
  load8(address: number): number {
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      const offset = this.#aim(address, 1);
      const value = atomicLoad(this.#section.u8, this.#wordIndex * 4 + offset);
      if (this.#isInForce()) return value;
    }
  }

  /**
   * Finds the frame of the address, which must be writable, and returns the offset in it. Throws what the translator throws, and HmmError EINVAL for a bad address.
   *
   * @stepped data
   */
  #aim(address: number, widthBytes: number): number {
    const page = pageOf(address, widthBytes);
    if (page === this.#page) return address - page * PAGE_BYTES;
    const { memory, ram } = this.#machine;
    this.#page = -1; // until all of it is known: the translator may throw
    this.#generationWord = this.#shootdown.generationWord(page);
    for (let tries = 0; ; tries++) {
      checkRetry(tries, address);
      this.#generation = atomicLoad(memory.words, this.#generationWord);
      const pfn = this.#translator.translate(page, true, address) >>> 1;
      try {
        this.#section = ram.section(pfn);
      } catch (error) {
        // A number that was read from a table which changed meanwhile may name no frame.
        if (this.#isInForce()) throw error;
        continue;
      }
      this.#wordIndex = this.#section.wordIndex(pfn);
      this.#page = page;
      return address - page * PAGE_BYTES;
    }
  }

  /** @stepped data */
  #isInForce(): boolean {
    if (atomicLoad(this.#machine.memory.words, this.#generationWord) === this.#generation) return true;
    this.#page = -1;
    return false;
  }
}
