/** @module A page table for tests of the software TLB: a real one, with a log of what is asked. */

import type { Machine } from "../../src/memory/machine.ts";
import {
  ENTRY_PFN_SHIFT,
  ENTRY_READABLE,
  PGD_WORDS,
  leafAlloc,
  pteIndex,
} from "../../src/mmu/radix-table.ts";
import type { Translator } from "../../src/mmu/translator.ts";
import { atomicStore } from "../../src/sync/atomics.ts";
import { SegmentationFault } from "../../src/sync/errors.ts";
import { Shootdown } from "../../src/sync/primitives/shootdown.ts";
import { run } from "../memory/harness.ts";

const READ: number = ENTRY_READABLE;
const WRITE = 2;

export class TestTable implements Translator {
  readonly writeBits: number = READ | WRITE;
  readonly shootdown: Shootdown;
  /** Walks that began. */
  walks = 0;
  /** `7r`, `7w`: faults that were taken. */
  readonly faults: string[] = [];
  /** Runs when a walk begins: the generation has been read, the table has not. */
  duringWalk: (() => void) | undefined;
  readonly #machine: Machine;
  readonly #pgd: number;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#pgd = run(machine, machine.heap.allocWords(PGD_WORDS));
    this.shootdown = new Shootdown(machine.memory, run(machine, machine.heap.allocWords(512)));
    this.shootdown.init();
  }

  root(): number {
    this.walks++;
    this.duringWalk?.();
    return this.#pgd;
  }

  fault(page: number, write: boolean, address: number): void {
    this.faults.push(`${page}${write ? "w" : "r"}`);
    throw new SegmentationFault(address, write ? "write" : "read", "nothing is mapped there");
  }

  /** Word index of the entry of `page`. */
  indexOf(page: number): number {
    return pteIndex(run(this.#machine, leafAlloc(this.#machine, this.#pgd, page)), page);
  }

  get pgd(): number {
    return this.#pgd;
  }

  set(page: number, pfn: number, writable = true): void {
    this.#write(page, (pfn << ENTRY_PFN_SHIFT) | READ | (writable ? WRITE : 0));
  }

  /** Without a flush. */
  clear(page: number): void {
    this.#write(page, 0);
  }

  /** The entry names its frame, and no access may use it. Without a flush. */
  refuse(page: number): void {
    const index = this.indexOf(page);
    const { words } = this.#machine.memory;
    atomicStore(words, index, words[index]! & ~(READ | WRITE));
  }

  #write(page: number, entry: number): void {
    const index = this.indexOf(page); // may bring a longer view of the heap
    atomicStore(this.#machine.memory.words, index, entry);
  }

  /** That of `page`. */
  flush(page: number): void {
    run(this.#machine, this.shootdown.flush(page, page + 1));
  }
}
