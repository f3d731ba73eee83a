/**
 * @module devices/policy/thrash
 * Pages that thrash: the CPU stores to them again and again, and each store costs the device its
 * copy and the CPU a fault. After UVM's thrashing control (`uvm_perf_thrashing.c`): a page that has
 * lost THRASH_EVENTS copies in a row, each within THRASH_WINDOW_MS of the one before, is left in
 * RAM for REMOTE_LAPSE_MS and read there over the bus, where stores disturb nobody. Then it gets
 * another chance.
 *
 * A table of THRASH_ENTRIES entries, direct-mapped by page: two pages that share an entry push each
 * other out, which costs a little speed only. Under the driver lock; times are sharedMs
 * of sync/tasks/clock.ts.
 *
 *     0  PAGE    1  EVENTS, 0 = free entry    2  LAST_MS    3  REMOTE_UNTIL_MS, 0 = not thrashing
 */

import { plainLoad, type SharedMemory } from "../../driver-interface.ts";

/** Copies that are lost in a row until a page thrashes. */
export const THRASH_EVENTS = 3;
/** Milliseconds between two losses at most, so that they are in a row. */
export const THRASH_WINDOW_MS = 50;
/** Milliseconds that a page which thrashes is left in RAM. */
export const REMOTE_LAPSE_MS = 200;

const THRASH_ENTRIES = 256;
const PAGE = 0;
const EVENTS = 1;
const LAST_MS = 2;
const REMOTE_UNTIL_MS = 3;
const ENTRY_WORDS = 4;

/** Words of the table: a size that the heap has. */
export const THRASH_WORDS: number = THRASH_ENTRIES * ENTRY_WORDS;

/** The pages of a device that thrash, in shared memory, under the driver lock. */
export class ThrashTable {
  readonly #memory: SharedMemory;
  readonly #at: number;
  readonly #expiryAt: number;

  /**
   * The table at `at`, and the word at `expiryAt`: when the next page may be tried again, 0 none.
   */
  constructor(memory: SharedMemory, at: number, expiryAt: number) {
    this.#memory = memory;
    this.#at = at;
    this.#expiryAt = expiryAt;
    memory.ensure(at + THRASH_WORDS);
  }

  /**
   * A copy of the page was lost to a store of the CPU, or could not be made because of one. True:
   * from now on the page thrashes.
   *
   * @stepped thrash
   */
  noteLoss(page: number, nowMs: number): boolean {
    const { words } = this.#memory;
    this.#memory.plainWatch?.note(this.#at, true, "thrash table");
    const at = this.#entryOf(page);
    const isKnown = plainLoad(words, at + PAGE) >>> 0 === page && plainLoad(words, at + EVENTS) > 0;
    const isRecent = isKnown && ((nowMs - plainLoad(words, at + LAST_MS)) | 0) <= THRASH_WINDOW_MS;
    const events = isRecent ? plainLoad(words, at + EVENTS) + 1 : 1;
    if (!isKnown) words[at + REMOTE_UNTIL_MS] = 0;
    words[at + PAGE] = page;
    words[at + EVENTS] = events;
    words[at + LAST_MS] = nowMs;
    if (events < THRASH_EVENTS || plainLoad(words, at + REMOTE_UNTIL_MS) !== 0) return false;
    words[at + REMOTE_UNTIL_MS] = timeAfter(nowMs, REMOTE_LAPSE_MS);
    if (plainLoad(words, this.#expiryAt) === 0)
      words[this.#expiryAt] = timeAfter(nowMs, REMOTE_LAPSE_MS);
    return true;
  }

  /** Whether the page is to be left in RAM. Without the driver lock a hint. */
  isThrashing(page: number): boolean {
    const { words } = this.#memory;
    const at = this.#entryOf(page);
    return (
      plainLoad(words, at + PAGE) >>> 0 === page && plainLoad(words, at + REMOTE_UNTIL_MS) !== 0
    );
  }

  /**
   * Whether `expire` has anything to do. A hint, read without the driver lock: a page whose time is
   * up later waits for the next batch.
   *
   * @stepped thrash expiry
   */
  hasExpired(nowMs: number): boolean {
    const expiryMs = plainLoad(this.#memory.words, this.#expiryAt);
    return expiryMs !== 0 && ((nowMs - expiryMs) | 0) >= 0;
  }

  /** Forgets pages whose time is up, and calls `release` for each. */
  expire(nowMs: number, release: (page: number) => void): void {
    const { words } = this.#memory;
    this.#memory.plainWatch?.note(this.#at, true, "thrash table");
    let nextMs = 0;
    for (let at = this.#at; at < this.#at + THRASH_WORDS; at += ENTRY_WORDS) {
      const untilMs = plainLoad(words, at + REMOTE_UNTIL_MS);
      if (untilMs === 0) continue;
      const page = plainLoad(words, at + PAGE) >>> 0;
      if (((nowMs - untilMs) | 0) < 0) {
        if (nextMs === 0 || ((untilMs - nextMs) | 0) < 0) nextMs = untilMs;
        continue;
      }
      words.fill(0, at, at + ENTRY_WORDS);
      release(page);
    }
    words[this.#expiryAt] = nextMs;
  }

  /** No page thrashes. */
  forget(): void {
    const { words } = this.#memory;
    this.#memory.plainWatch?.note(this.#at, true, "thrash table");
    words.fill(0, this.#at, this.#at + THRASH_WORDS);
    words[this.#expiryAt] = 0;
  }

  #entryOf(page: number): number {
    // Multiplicative hashing: neighbours get entries of their own, and so do equal offsets in
    // different blocks.
    return this.#at + (Math.imul(page, 0x9e3779b1) >>> 24) * ENTRY_WORDS;
  }
}

/** A time that is not 0, which means none. */
function timeAfter(nowMs: number, delayMs: number): number {
  return (nowMs + delayMs) | 0 || 1;
}
