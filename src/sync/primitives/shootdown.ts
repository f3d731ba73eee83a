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
 * S2. A thread that is inside does nothing else: no wait, no lock, no call that may throw past
 *     leaveStore.
 */

import { atomicAdd, atomicLoad, atomicStore } from "../atomics.ts";
import {
  AGENTS_USED,
  AGENT_DEAD,
  AGENT_FREE,
  AGENT_INSIDE,
  AGENT_STATE,
  AGENT_STATE_MASK,
  agentRecord,
} from "../control-block.ts";
import { assert } from "../errors.ts";
import { EXPLORED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { DONE, describe, park } from "../tasks/task.ts";
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
  memory.insideMark = (memory.insideMark + 1) | 0;
  atomicStore(memory.words, memory.record + AGENT_INSIDE, memory.insideMark);
}

/**
 * This thread has left its store.
 *
 * @stepped store mark
 */
export function leaveStore(memory: SharedMemory): void {
  memory.insideMark = (memory.insideMark + 1) | 0;
  atomicStore(memory.words, memory.record + AGENT_INSIDE, memory.insideMark);
}

export class Shootdown {
  static readonly WORDS: number = GENERATIONS + 1;
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
   * in progress, which wait for nothing. Not from inside a store.
   */
  flush(startPage: number, endPage: number): Task<void> {
    const { memory } = this;
    assert((memory.insideMark & 1) === 0, "a shootdown from inside a store would wait for itself");
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
    if ((atomicLoad(words, record + AGENT_INSIDE) & 1) === 0) return false;
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
      while (atomicLoad(memory.words, inside) === mark && this.mustWaitFor(agentId)) {
        yield this.storeEndWait(inside, mark);
      }
    }
  }

  private spinWhileInside(inside: number, mark: number): void {
    const { words, mode } = this.memory;
    if (mode === EXPLORED) return; // no other task runs during a spin
    for (let spins = 0; spins < SPINS && atomicLoad(words, inside) === mark; spins++);
  }

  private storeEndWait(inside: number, mark: number): Wait {
    const { memory } = this;
    if (memory.mode === EXPLORED)
      return describe("shootdownWait", memory, inside, 1, STORE_LABEL, mark);
    return park(memory, inside, mark, RECHECK_MS, STORE_LABEL);
  }

  private *flushExplored(startPage: number, endPage: number): Task<void> {
    yield describe("shootdownBump", this.memory, this.at, Shootdown.WORDS, "shootdown");
    this.bump(startPage, endPage);
    yield* this.waitForStores(0);
  }

  private *markExplored(kind: "shootdownEnter" | "shootdownLeave"): Task<void> {
    const { memory } = this;
    yield describe(kind, memory, memory.record + AGENT_INSIDE, 1, "shootdown");
    if (kind === "shootdownEnter") enterStore(memory);
    else leaveStore(memory);
  }
}
