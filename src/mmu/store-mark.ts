/**
 * @module mmu/store-mark
 * The mark that stores make (S2 of sync/primitives/shootdown.ts), for one thread's typed access to
 * one space: around each store, or, in a section, over many.
 *
 *     no section            section open              section open, mark held
 *     ----------            ------------              -----------------------
 *     each store marks      the next store marks,     a store makes no mark;
 *     and leaves            and holds the mark        letGo: back to the state before
 *
 * The mark is held from the first store of a section on, not from its beginning: nobody waits for a
 * section that only loads. It is given up
 *
 *   - at the end of the section;
 *   - where a store finds that somebody asks, or a load a new epoch;
 *   - before a fault, a task, and a store to another space.
 *
 * A store in a section makes the same checks as one outside, generation and entry, for the first
 * store to each page after the mark was made. What it finds holds as long as the mark: whoever
 * changes the entry waits for that. So the page is known from then on, and further stores to it
 * look at two words: what is known of the page, and whether somebody asks.
 *
 *   SM1  The generation is read after the mark is made: atomically by the store that makes it, and
 *       from then on by plain reads, which come after that one.
 *   SM2  Nothing comes between the check of a generation and the write that depends on it. So the
 *       mark is not given up in between.
 *   SM4  Known pages are forgotten before the mark is given up.
 *
 *      thread in a section                    invalidator
 *      -------------------                    -----------
 *      marks, finds page A: known
 *      mark given up, A still known [wrong]
 *                                             entry of A cleared, generation + 1
 *                                             nobody inside; frame given to another page
 *      marks, stores to B
 *      stores to A: known, so to the frame
 *        of the other page
 *
 *   SM3  A held mark means that the work item it is held for has stored (`hasStored`): stores that
 *       find the mark held do not say so themselves.
 */

import type { RamSection } from "../memory/frames/ram-section.ts";
import { EDEADLK, EINVAL } from "../sync/errno.ts";
import { HmmError } from "../sync/errors.ts";
import {
  enterSection,
  enterStore,
  leaveSection,
  leaveStore,
} from "../sync/primitives/shootdown.ts";
import type { MarkKeeper, SharedMemory } from "../sync/shared-memory.ts";
import { KnownPages } from "./known-pages.ts";
import type { PageUser } from "./known-pages.ts";

/** A work item of a device, for which stores are made. */
export interface StoringItem {
  /** Whether its stores are refused. */
  readonly isOver: boolean;
  /** The error of a refused store. */
  refusal(): Error;
  /** Whether it has changed memory: then it cannot be run again. */
  hasStored: boolean;
}

/** A debug build objects if somebody had to wait for longer than this. */
const PROMPT_MS = 1000;

/**
 * Throws HmmError EINVAL if `result` is a promise or an iterator: what made it is not done, and the
 * section is over.
 */
export function requireDone(result: unknown): void {
  if ((typeof result !== "object" && typeof result !== "function") || result === null) return;
  const what =
    "then" in result && typeof result.then === "function"
      ? "a promise"
      : "next" in result && typeof result.next === "function"
        ? "an iterator"
        : undefined;
  if (what === undefined) return;
  if (result instanceof Promise) result.catch(() => {}); // it is refused already
  throw new HmmError(
    EINVAL,
    "section",
    `Cannot run the section: its function returned ${what}, and a section is over when the call returns; make it a plain function, and await what it needs before`,
  );
}

export class StoreMark implements MarkKeeper {
  /** The item that all stores are made for; undefined for a thread of the CPU. */
  readonly item: StoringItem | undefined;
  /** 0 while stores need no mark of their own, else 1. A number, for compiled code to test. */
  unheld = 1;
  /** For how long somebody has waited for this section, in milliseconds. Of debug builds. */
  waitedMs = 0;
  readonly #memory: SharedMemory;
  /** First generation word of the space. */
  readonly #generationsAt: number;
  /** Sections that are open, one in the other. */
  #sections = 0;
  /** Of this thread; used from the first store in a section on. */
  #known: KnownPages | undefined = undefined;

  constructor(memory: SharedMemory, generationsAt: number, item: StoringItem | undefined) {
    this.#memory = memory;
    this.#generationsAt = generationsAt;
    this.item = item;
  }

  /** A section begins. Pairs with `closeSection`. */
  openSection(): void {
    if (this.#sections === 0) this.waitedMs = 0;
    this.#sections++;
  }

  /**
   * It ends, also when it has thrown.
   *
   * @stepped store mark
   */
  closeSection(): void {
    this.#sections--;
    if (this.#sections === 0) this.letGo();
  }

  /**
   * Before a store: on return this thread is marked. True: the mark is new, so the next generation
   * is read atomically (SM1). Throws for an item that is over; then there is no mark.
   *
   * @stepped store mark
   */
  enter(): boolean {
    if (this.unheld === 0) {
      if (this.#known!.asked[0] === 0) return false; // set when the mark was taken
      this.letGo(); // and take it again
    }
    const { item } = this;
    if (item !== undefined && item.isOver) throw item.refusal();
    if (this.#sections === 0) {
      enterStore(this.#memory);
      return true;
    }
    this.#known ??= KnownPages.of(this.#memory);
    this.#known.claim(this);
    enterSection(this.#memory, this.#generationsAt, this);
    this.unheld = 0;
    return true;
  }

  /**
   * `user` has found, after `enter`, that `page` may be written and is frame number `frame` of
   * `section`: while the mark is held, the page is known (SM4).
   */
  know(page: number, frame: number, section: RamSection, user: PageUser): void {
    if (this.unheld === 0) this.#known!.add(page, frame, section, user); // set when it was taken
  }

  /**
   * After a store.
   *
   * @stepped store mark
   */
  leave(): void {
    if (this.unheld !== 0) leaveStore(this.#memory);
  }

  /**
   * After `enter`, when there is no translation for the store, which has not been made.
   *
   * @stepped store mark
   */
  leaveUnused(): void {
    if (this.unheld !== 0) leaveStore(this.#memory);
    else if (this.item !== undefined && !this.item.hasStored) this.letGo(); // SM3
  }

  /**
   * In a debug build, throws for a section during which somebody waited for longer than PROMPT_MS.
   * It has blocked, or computed for long without an access.
   */
  requirePrompt(): void {
    if (!this.#memory.debug || this.#sections > 0 || this.waitedMs <= PROMPT_MS) return;
    throw new HmmError(
      EDEADLK,
      "section",
      `Cannot call the section good: another thread waited ${this.waitedMs} ms for it to let go of its mark; a section must not block, and must access memory or end within ${PROMPT_MS} ms`,
    );
  }

  /** @stepped store mark */
  letGo(): void {
    if (this.unheld !== 0) return;
    this.unheld = 1;
    this.#known?.forget(); // SM4
    const waitedMs = leaveSection(this.#memory);
    if (waitedMs > this.waitedMs) this.waitedMs = waitedMs;
  }
}
