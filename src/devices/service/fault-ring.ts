/**
 * @module devices/service/fault-ring
 * The device's fault buffer: one ring for each of its threads, so that recording a fault needs no
 * lock. The thread appends faults; the service owner removes those of all threads, running or not.
 * A recorded fault is not waited for here, and gets no answer: the work item that made it runs
 * again, and finds the page or faults anew (the replay policy that UVM calls BATCH_FLUSH).
 *
 *     word 0   HEAD    faults removed so far; written by the service owner
 *     word 1   TAIL    faults appended so far; written by the thread, after the fault
 *     2, 3     page and DeviceAccess of the first entry, and so on
 *
 * HEAD and TAIL only count up, modulo 2^32.
 */

import { atomicLoad, atomicStore, plainLoad, type SharedMemory } from "../../driver-interface.ts";

/** Faults that a thread may have waiting. A power of two. */
export const RING_FAULTS = 256;

const HEAD = 0;
const TAIL = 1;
const ENTRIES = 2;
const ENTRY_WORDS = 2;

/** Words of a ring: a size that the heap has. */
export const RING_WORDS = 1024;

/** The fault buffer of one thread of a device: RING_FAULTS faults that wait to be served. */
export class FaultRing {
  readonly #memory: SharedMemory;
  readonly #at: number;

  constructor(memory: SharedMemory, at: number) {
    memory.ensure(at + RING_WORDS);
    this.#memory = memory;
    this.#at = at;
  }

  /**
   * How many faults wait.
   *
   * @stepped fault ring
   */
  countWaiting(): number {
    const { words } = this.#memory;
    return (atomicLoad(words, this.#at + TAIL) - atomicLoad(words, this.#at + HEAD)) | 0;
  }

  /**
   * Records a fault. False when the ring is full: serve first. Only the ring's own thread.
   *
   * @stepped fault ring
   */
  put(page: number, isWrite: boolean): boolean {
    const { words } = this.#memory;
    if (this.countWaiting() >= RING_FAULTS) return false;
    const tail = plainLoad(words, this.#at + TAIL); // only this thread writes it
    const at = this.#entry(tail);
    words[at] = page;
    words[at + 1] = isWrite ? 1 : 0;
    atomicStore(words, this.#at + TAIL, (tail + 1) | 0);
    return true;
  }

  /**
   * Removes every waiting fault, and calls `use` with it. As the service owner. Returns how many.
   *
   * @stepped fault ring
   */
  drain(use: (page: number, isWrite: boolean) => void): number {
    const { words } = this.#memory;
    const head = plainLoad(words, this.#at + HEAD); // written by the service owner alone
    const waiting = this.countWaiting();
    for (let i = 0; i < waiting; i++) {
      const at = this.#entry(head + i);
      use(plainLoad(words, at) >>> 0, plainLoad(words, at + 1) !== 0);
    }
    atomicStore(words, this.#at + HEAD, (head + waiting) | 0);
    return waiting;
  }

  #entry(count: number): number {
    return this.#at + ENTRIES + (count & (RING_FAULTS - 1)) * ENTRY_WORDS;
  }
}
