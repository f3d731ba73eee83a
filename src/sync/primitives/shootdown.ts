/**
 * @module TLB shootdown: how an invalidator makes every thread stop using a translation that it has
 * just cleared.
 *
 * 65 words per address space: one generation for each 2 MiB block of pages modulo 64, and the
 * epoch, which changes whenever one of them does. An access takes nanoseconds, so it is no task:
 *
 * - A LOAD through a cached translation reads the data, and then the epoch by a plain read: it is
 *   one word for all blocks. If that is unchanged, the value was read while the translation was
 *   valid. If it has changed, the thread looks which generations have (X7 of mmu/soft-tlb.ts).
 *   Nobody waits for loads.
 * - A STORE (or read-modify-write) marks its thread as inside, checks the generation, writes, and
 *   leaves. The mark is the INSIDE word of the thread's agent record, odd while inside. Only the
 *   thread itself writes it while it lives.
 * - A SECTION keeps the mark over many stores, because the mark costs more than they do. Each of
 *   them checks its generation, as a single one does. So nothing has to be known of the others.
 *
 * S1. The invalidator changes the page table first and calls {@link Shootdown.flush} after. When
 *     flush returns, no store through a translation read before the change is in progress, and none
 *     will begin.
 *
 *      storer                                 invalidator
 *      INSIDE odd
 *                                             entry cleared
 *                                             generation += 1
 *      generation? changed -> INSIDE even,    INSIDE odd? yes -> waits until it changes
 *      takes the slow path
 *
 *      storer                                 invalidator
 *      INSIDE odd
 *      generation? unchanged
 *                                             entry cleared
 *                                             generation += 1
 *      writes the data                        INSIDE odd? yes -> waits
 *      INSIDE even                            goes on: the data is written
 *
 *     The generation is raised before the epoch. Whoever finds a new epoch therefore finds the new
 *     generations, too.
 *
 * S2. A thread that is inside a store does nothing else: no wait, no lock, no call that may throw
 *     past leaveStore. A section lasts while its thread runs other code, which may do anything. So
 *     whatever could wait lets go of the mark first: a fault, a task (both runners), a store with a
 *     mark of its own. The section takes the mark again with its next store.
 *
 * S3. A section says in its record which space it is in, before it marks; an invalidator waits for
 *     the sections of its own space only. Those of others cannot hold translations of this one.
 *
 * S4. A section lets go when it is asked to, by the ASKED word of its thread's record. Its stores
 *     look at that word, which costs them one plain read; so do atomic operations. Loads do not:
 *     for them the invalidator raises the epoch, which makes each thread look at the generations.
 *     So it waits for as long as a short section lasts before it asks.
 *
 *      thread in a section                    invalidator
 *      -------------------                    -----------
 *      INSIDE odd, stores to page A
 *                                             entry of page B cleared, its generation + 1
 *                                             INSIDE odd? yes -> waits for a moment
 *      goes on with page A, over and over
 *                                             ASKED set, epoch + 1; sleeps while INSIDE is the same
 *      ASKED? yes -> INSIDE even, ASKED
 *        cleared, wakes
 *      looks page A up again, INSIDE odd,     goes on
 *      goes on
 *
 *     The thread clears ASKED after it has left and before it marks again. So no wish for the new
 *     mark is lost. One that comes late, when the mark that was meant is gone, makes the thread let
 *     go once in vain.
 *
 * S5. The mark is for other threads. While the memory has been given to none (`isAlone`), nobody
 *     else can invalidate, and stores make no mark. {@link shareMemory} ends that: it runs in the
 *     only thread that there is, between two stores, before the buffer is given out.
 */

import { atomicAdd, atomicLoad, atomicStore, futexWake, plainLoad } from "../atomics.ts";
import {
  AGENTS_USED,
  AGENT_ASKED,
  AGENT_DEAD,
  AGENT_FREE,
  AGENT_INSIDE,
  AGENT_SECTION,
  AGENT_STATE,
  AGENT_STATE_MASK,
  MARK_INSIDE,
  MARK_SECTION,
  MARK_STEP,
  agentRecord,
} from "../control-block.ts";
import { assert } from "../errors.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { MarkKeeper, SharedMemory } from "../shared-memory.ts";
import { sharedMs } from "../tasks/clock.ts";
import { DONE, describe, goesOn, park } from "../tasks/task.ts";
import type { Task, Wait } from "../tasks/task.ts";

/** Generations per address space. */
export const GENERATIONS = 64;
/** log2 of the pages in a block: 2 MiB of 4 KiB pages. */
export const GENERATION_PAGE_SHIFT = 9;
/** A store ends long before this many spins, unless its thread has lost the processor. */
const SPINS = 2000;
/**
 * A leaving store wakes nobody, because a wake would cost more than the store. So a flush rechecks
 * this often.
 */
const RECHECK_MS = 1;
const STORE_LABEL = "a store to end";
const SECTION_LABEL = "a section of stores to let go";

/** The index of the generation word that `page` belongs to. */
export function generationIndex(page: number): number {
  return (page >>> GENERATION_PAGE_SHIFT) & (GENERATIONS - 1);
}

/**
 * Marks this thread as inside a store. Pairs with {@link leaveStore}; nothing but the store comes
 * in between (S2).
 *
 * @stepped store mark
 */
export function enterStore(memory: SharedMemory): void {
  if (memory.isAlone) return; // S5
  if ((memory.insideMark & MARK_INSIDE) !== 0) letGoOfMark(memory);
  memory.insideMark = (memory.insideMark + MARK_INSIDE) | 0;
  atomicStore(memory.words, memory.record + AGENT_INSIDE, memory.insideMark);
}

/**
 * This thread has left its store.
 *
 * @stepped store mark
 */
export function leaveStore(memory: SharedMemory): void {
  if (memory.isAlone) return;
  memory.insideMark = (memory.insideMark + MARK_STEP - MARK_INSIDE) | 0;
  atomicStore(memory.words, memory.record + AGENT_INSIDE, memory.insideMark);
}

/**
 * Marks this thread as inside a section of the space whose generations begin at word `at`, for
 * `keeper`, until that lets go. The caller then loads a generation atomically: what it reads after
 * that by plain reads comes after the mark, too.
 *
 * @stepped store mark
 */
export function enterSection(memory: SharedMemory, at: number, keeper: MarkKeeper): void {
  const before = memory.markKeepers[memory.agentId];
  if (before !== undefined) before.letGo();
  memory.markKeepers[memory.agentId] = keeper;
  if (memory.isAlone) return;
  const section = memory.record + AGENT_SECTION;
  // S3. Only this thread writes the word.
  if (plainLoad(memory.words, section) !== at) atomicStore(memory.words, section, at);
  memory.insideMark = (memory.insideMark + MARK_INSIDE + MARK_SECTION) | 0;
  atomicStore(memory.words, memory.record + AGENT_INSIDE, memory.insideMark);
}

/**
 * This thread has left its section, for now or for good. Returns for how many milliseconds somebody
 * had asked for that.
 *
 * @stepped store mark
 */
export function leaveSection(memory: SharedMemory): number {
  memory.markKeepers[memory.agentId] = undefined;
  if ((memory.insideMark & MARK_SECTION) === 0) return 0; // S5
  const { words, record } = memory;
  memory.insideMark = (memory.insideMark + MARK_STEP - MARK_INSIDE - MARK_SECTION) | 0;
  atomicStore(words, record + AGENT_INSIDE, memory.insideMark);
  // After that: who asks, and goes to sleep, has either seen the mark change, or is seen here.
  const askedMs = atomicLoad(words, record + AGENT_ASKED);
  if (askedMs === 0) return 0;
  atomicStore(words, record + AGENT_ASKED, 0);
  if (memory.mode !== EXPLORED) futexWake(words, record + AGENT_INSIDE, Infinity);
  return (sharedMs() - askedMs) | 0;
}

/**
 * Takes the mark away that this thread keeps in a section, if it keeps one (S2). Its next store
 * there makes it again. Also where there is no mark (S5): the keeper knows things that a fault or a
 * task of this thread may change.
 *
 * @stepped store mark
 */
export function letGoOfMark(memory: SharedMemory): void {
  const keeper = memory.markKeepers[memory.agentId];
  if (keeper !== undefined) keeper.letGo();
}

/**
 * As {@link letGoOfMark}, if somebody asks for it.
 *
 * @stepped store mark
 */
export function letGoIfAsked(memory: SharedMemory): void {
  const keeper = memory.markKeepers[memory.agentId];
  if (keeper !== undefined && atomicLoad(memory.words, memory.record + AGENT_ASKED) !== 0)
    keeper.letGo();
}

/** The memory is about to be given to another thread: from now on stores are marked (S5). */
export function shareMemory(memory: SharedMemory): void {
  if (!memory.isAlone) return;
  memory.markKeepers[memory.agentId]?.letGo();
  memory.isAlone = false;
}

/**
 * The generations and the epoch of one page table: raised by who changes entries, compared by the
 * threads that keep translations. A field of a struct.
 */
export class Shootdown {
  /** Words that one takes. */
  static readonly WORDS: number = GENERATIONS + 1;
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** The generation of block index i is word `at + i`; the epoch comes after them. */
  readonly at: number;

  constructor(memory: SharedMemory, at: number) {
    this.memory = memory;
    this.at = at;
  }

  /** All generations and the epoch 0. Only while nobody else can know the words. */
  init(): void {
    this.memory.words.fill(0, this.at, this.at + Shootdown.WORDS);
  }

  /** The word whose value tells which translations of `page` are valid. */
  generationWord(page: number): number {
    return this.at + generationIndex(page);
  }

  /** As {@link enterStore}, as a task. */
  enterStore(): Task<void> {
    if (this.memory.mode === EXPLORED) return this.markExplored("shootdownEnter");
    enterStore(this.memory);
    return DONE;
  }

  /** As {@link leaveStore}, as a task. */
  leaveStore(): Task<void> {
    if (this.memory.mode === EXPLORED) return this.markExplored("shootdownLeave");
    leaveStore(this.memory);
    return DONE;
  }

  /**
   * S1, for pages [startPage, endPage). May be called with spinlocks held: it waits only for stores
   * in progress, which wait for nothing, and for sections, which let go before they wait (S2). Not
   * from inside a store.
   *
   * @spelled shootdown
   */
  flush(startPage: number, endPage: number): Task<void> {
    const { memory } = this;
    assert(
      (memory.insideMark & MARK_INSIDE) === 0,
      "a shootdown from inside a store would wait for itself",
    );
    if (memory.mode === EXPLORED) return this.flushExplored(startPage, endPage);
    this.bump(startPage, endPage);
    for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
      if (agentId !== memory.agentId && this.mustWaitFor(agentId))
        return this.waitForStores(agentId);
    }
    return DONE;
  }

  /** @spelled shootdown */
  private bump(startPage: number, endPage: number): void {
    const words = this.memory.words;
    const firstBlock = Math.floor(startPage / (1 << GENERATION_PAGE_SHIFT));
    const lastBlock = Math.floor((endPage - 1) / (1 << GENERATION_PAGE_SHIFT));
    const count = Math.min(lastBlock - firstBlock + 1, GENERATIONS);
    for (let i = 0; i < count; i++) atomicAdd(words, this.at + ((firstBlock + i) % GENERATIONS), 1);
    atomicAdd(words, this.at + GENERATIONS, 1);
  }

  /** @stepped whether a store is under way */
  private mustWaitFor(agentId: number): boolean {
    const words = this.memory.words;
    const record = agentRecord(agentId);
    const mark = atomicLoad(words, record + AGENT_INSIDE);
    if ((mark & MARK_INSIDE) === 0) return false;
    // Read after the mark. If it is another section's already, the one of that mark has been left.
    if ((mark & MARK_SECTION) !== 0 && atomicLoad(words, record + AGENT_SECTION) !== this.at)
      return false;
    const state = atomicLoad(words, record + AGENT_STATE) & AGENT_STATE_MASK;
    return state !== AGENT_FREE && state !== AGENT_DEAD;
  }

  /** @stepped whether a store is under way */
  private *waitForStores(firstAgentId: number): Task<void> {
    const { memory } = this;
    for (
      let agentId = firstAgentId, end = atomicLoad(memory.words, AGENTS_USED);
      agentId < end;
      agentId++
    ) {
      if (agentId === memory.agentId) continue;
      const inside = agentRecord(agentId) + AGENT_INSIDE;
      const mark = atomicLoad(memory.words, inside);
      if (!this.mustWaitFor(agentId)) continue;
      this.spinWhileInside(inside, mark);
      if ((mark & MARK_SECTION) !== 0 && atomicLoad(memory.words, inside) === mark)
        this.askToLetGo(agentId);
      while (atomicLoad(memory.words, inside) === mark && this.mustWaitFor(agentId)) {
        yield this.storeEndWait(inside, mark);
      }
    }
  }

  /**
   * S4.
   *
   * @stepped whether a store is under way
   */
  private askToLetGo(agentId: number): void {
    const { words } = this.memory;
    atomicStore(words, agentRecord(agentId) + AGENT_ASKED, sharedMs() | 1);
    atomicAdd(words, this.at + GENERATIONS, 1);
  }

  private spinWhileInside(inside: number, mark: number): void {
    const { words, mode } = this.memory;
    if (mode === EXPLORED) return; // no other task runs during a spin
    for (let spins = 0; spins < SPINS && atomicLoad(words, inside) === mark; spins++);
  }

  private storeEndWait(inside: number, mark: number): Wait {
    const { memory } = this;
    const label = (mark & MARK_SECTION) !== 0 ? SECTION_LABEL : STORE_LABEL;
    if (memory.mode === EXPLORED) return describe("shootdownWait", memory, inside, 1, label, mark);
    return park(memory, inside, mark, RECHECK_MS, label);
  }

  private *flushExplored(startPage: number, endPage: number): Task<void> {
    const wait = describe("shootdownBump", this.memory, this.at, Shootdown.WORDS, "shootdown");
    if (!goesOn(wait)) yield wait;
    this.bump(startPage, endPage);
    yield* this.waitForStores(0);
  }

  private *markExplored(kind: "shootdownEnter" | "shootdownLeave"): Task<void> {
    const { memory } = this;
    const wait = describe(kind, memory, memory.record + AGENT_INSIDE, 1, "shootdown");
    if (!goesOn(wait)) yield wait;
    if (kind === "shootdownEnter") enterStore(memory);
    else leaveStore(memory);
  }
}
