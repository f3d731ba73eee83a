/**
 * @module What is behind the source of random programs: a store in JavaScript with a word for each
 * page. Every thread has its code.
 */

import type { Machine } from "../../../src/memory/machine.ts";
import { PAGE_BYTES } from "../../../src/mm/pte.ts";
import { SIZE_CHANGED, setPager } from "../../../src/mm/source/pager.ts";
import type { PageTransfer, Pager } from "../../../src/mm/source/pager.ts";

/** Pages that the store has at the beginning; calls may make it shorter, and longer again. */
export const STORE_PAGES = 3;

export class ProgramStore implements Pager {
  readonly wantsZeroes = true;
  readonly #words = new Int32Array(STORE_PAGES);
  #pages: number = STORE_PAGES;

  /** A new execution begins. */
  reset(): void {
    this.#words.fill(1);
    this.#pages = STORE_PAGES;
  }

  /** Somebody makes the store so many pages long. What is cut off is lost. */
  resize(pages: number): void {
    this.#words.fill(0, Math.min(pages, STORE_PAGES));
    this.#pages = pages;
  }

  read({ offsetBytes, storedBytes, parts }: PageTransfer): number {
    if (offsetBytes + storedBytes > this.sizeBytes()) return SIZE_CHANGED;
    eachPage(offsetBytes, parts, (word, page) => void (word[0] = this.#words[page] ?? 0));
    return 0;
  }

  write({ offsetBytes, parts }: PageTransfer): number {
    eachPage(offsetBytes, parts, (word, page) => void (this.#words[page] = word[0] ?? 0));
    return 0;
  }

  sizeBytes(): number {
    return this.#pages * PAGE_BYTES;
  }

  /** For the set-up: all agents up to `agents` have the code. */
  giveToAll(machine: Machine, cache: number, agents: number): void {
    const { memory } = machine;
    const self = memory.agentId;
    for (let agent = 0; agent <= agents; agent++) {
      memory.agentId = agent;
      setPager(machine, cache, this);
    }
    memory.agentId = self;
  }
}

function eachPage(
  offsetBytes: number,
  parts: readonly Uint8Array[],
  visit: (word: Int32Array, page: number) => void,
): void {
  let page = offsetBytes / PAGE_BYTES;
  for (const { buffer, byteOffset, length } of parts)
    for (let at = 0; at < length; at += PAGE_BYTES)
      visit(new Int32Array(buffer, byteOffset + at, 1), page++);
}
