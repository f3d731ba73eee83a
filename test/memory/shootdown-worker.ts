/**
 * @module A thread that loads or adds through a translation of one page, while the test invalidates
 * the translation repeatedly and reuses the frame. See threads.ts for the jobs; the broken ones
 * make mistakes that soft-tlb.ts must not make.
 */

import { parentPort, workerData } from "node:worker_threads";
import { Machine } from "../../src/memory/machine.ts";
import type { RamSection } from "../../src/memory/frames/ram-section.ts";
import { ENTRY_PFN_SHIFT } from "../../src/mmu/radix-table.ts";
import { TypedMemory } from "../../src/mmu/typed-memory.ts";
import { atomicAdd, atomicLoad, atomicStore } from "../../src/sync/atomics.ts";
import { Shootdown } from "../../src/sync/primitives/shootdown.ts";
import { GOOD, PAGE_UNDER_FIRE } from "./shootdown-page.ts";
import type { ShootdownJob } from "./threads.ts";

const ADDRESS: number = PAGE_UNDER_FIRE * 4096;
/**
 * How long a broken access waits between its check and its effect, as a thread that is preempted
 * there.
 */
const DAWDLE = 300;

const { kind, handle, words: at } = workerData as ShootdownJob;
const machine = Machine.attach(handle, { name: `shootdown ${kind}` });
const { memory, ram } = machine;
const { words } = memory;
const shootdown = new Shootdown(memory, at.shootdown);
const generationWord = shootdown.generationWord(PAGE_UNDER_FIRE);

class Stopped extends Error {}

/** Waits for a translation, as a fault would; its frame. */
function walk(): number {
  for (;;) {
    if (atomicLoad(words, at.stop) !== 0) throw new Stopped("the test is over");
    const entry = atomicLoad(words, at.pte);
    if (entry !== 0) return entry >>> ENTRY_PFN_SHIFT;
  }
}

const cache = new TypedMemory(machine, shootdown, {
  writeBits: 3,
  root: () => at.pgd,
  fault: walk,
});

let section: RamSection | undefined;
let index = 0;
let generation = -1;

/** The translation that the broken variants remember. */
function remember(): RamSection {
  generation = atomicLoad(words, generationWord);
  const pfn = walk();
  section = ram.sections.of(pfn);
  index = section.wordIndex(pfn);
  return section;
}

function dawdle(): void {
  for (let i = 0; i < DAWDLE; i++) atomicLoad(words, at.stop);
}

function loadUnchecked(): number {
  const remembered = section ?? remember();
  return remembered.i32[index]!;
}

function loadCheckedBefore(): number {
  const remembered =
    section === undefined || atomicLoad(words, generationWord) !== generation
      ? remember()
      : section;
  dawdle();
  return remembered.i32[index]!;
}

function addNotInside(): void {
  const remembered =
    section === undefined || atomicLoad(words, generationWord) !== generation
      ? remember()
      : section;
  dawdle();
  atomicAdd(remembered.i32, index, 1);
}

function look(load: () => number): void {
  if (load() !== GOOD) atomicAdd(words, at.bad, 1);
}

const acts: Record<ShootdownJob["kind"], () => void> = {
  load: () => look(() => cache.u32.load(ADDRESS)),
  "load-unchecked": () => look(loadUnchecked),
  "load-checked-before": () => look(loadCheckedBefore),
  add: () => void cache.u32.atomicAdd(ADDRESS, 1),
  "add-not-inside": addNotInside,
};

try {
  const act = acts[kind];
  for (let count = 1; atomicLoad(words, at.stop) === 0; count++) {
    act();
    atomicStore(words, at.done, count);
  }
  parentPort?.postMessage("stopped");
} catch (error) {
  parentPort?.postMessage(error instanceof Stopped ? "stopped" : String(error));
}
machine.detach();
