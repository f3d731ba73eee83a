/**
 * @module Translations against shootdowns from another thread: no load returns what the frame's
 * next owner wrote, and no store goes to a frame after its flush. The variants without a check must
 * be caught.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machine } from "../../src/memory/machine.ts";
import { atomicLoad, atomicStore } from "../../src/sync/atomics.ts";
import { TestTable } from "../mmu/test-table.ts";
import { makeMachine, run } from "./harness.ts";
import { BAD, GOOD, PAGE_UNDER_FIRE } from "./shootdown-page.ts";
import { type ShootdownJob, type ShootdownWords, startShootdown } from "./threads.ts";

const ROUNDS = 20_000;
/** The test fails if a broken variant is not caught in so many rounds. */
const ROUNDS_TO_CATCH = 400_000;

class Duel {
  readonly machine: Machine = makeMachine({ debug: false });
  readonly words: ShootdownWords;
  readonly table: TestTable;
  readonly frames: [number, number];

  constructor() {
    const { machine } = this;
    const at = run(machine, machine.heap.allocWords(1024));
    this.table = new TestTable(machine);
    const { pgd, shootdown } = this.table;
    const pte = this.table.indexOf(PAGE_UNDER_FIRE);
    this.words = { pgd, pte, stop: at, done: at + 64, bad: at + 128, shootdown: shootdown.at };
    this.frames = [
      run(machine, machine.ram.allocFrame(true)),
      run(machine, machine.ram.allocFrame(true)),
    ];
  }

  read(word: number): number {
    return atomicLoad(this.machine.memory.words, word);
  }

  frame(pfn: number): number {
    return atomicLoad(
      this.machine.ram.sections.of(pfn).i32,
      this.machine.ram.sections.wordIndex(pfn),
    );
  }

  setFrame(pfn: number, value: number): void {
    atomicStore(
      this.machine.ram.sections.of(pfn).i32,
      this.machine.ram.sections.wordIndex(pfn),
      value,
    );
  }

  map(pfn: number): void {
    this.table.set(PAGE_UNDER_FIRE, pfn);
  }

  /**
   * X1 of soft-tlb.ts: clears the entry, raises the generation, waits for stores. After that the
   * frame may be reused.
   */
  unmap(): void {
    this.table.clear(PAGE_UNDER_FIRE);
    this.table.flush(PAGE_UNDER_FIRE);
  }

  /**
   * Waits until the worker has done something since, so that every round has work on both sides.
   */
  waitForWork(): void {
    const before = this.read(this.words.done);
    for (let looks = 0; looks < 10_000 && this.read(this.words.done) === before; looks++);
  }

  stop(): void {
    atomicStore(this.machine.memory.words, this.words.stop, 1);
  }
}

/**
 * Runs the rounds while a worker works; returns how it ended. `round` returns true to end early.
 */
async function fight(
  duel: Duel,
  kind: ShootdownJob["kind"],
  rounds: number,
  round: (i: number) => boolean,
): Promise<void> {
  const { ended } = startShootdown({ kind, handle: duel.machine.handle, words: duel.words });
  while (duel.read(duel.words.done) === 0) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < rounds && !round(i); i++);
  duel.stop();
  assert.equal(await ended, "stopped");
}

/**
 * Each round: the page moves to the other frame, and the one that it leaves gets the next owner's
 * data.
 */
async function duelOfLoads(
  kind: ShootdownJob["kind"],
  rounds: number,
): Promise<{ bad: number; done: number }> {
  const duel = new Duel();
  const { words, frames } = duel;
  duel.setFrame(frames[0], GOOD);
  duel.map(frames[0]);
  await fight(duel, kind, rounds, (i) => {
    const [leaving, coming] = i % 2 === 0 ? frames : frames.toReversed();
    if (leaving === undefined || coming === undefined) return true;
    duel.unmap();
    duel.setFrame(leaving, BAD);
    duel.setFrame(coming, GOOD);
    duel.map(coming);
    duel.waitForWork();
    return duel.read(words.bad) > 0;
  });
  return { bad: duel.read(words.bad), done: duel.read(words.done) };
}

test("a load never returns what the frame's next owner wrote", async () => {
  const { bad, done } = await duelOfLoads("load", ROUNDS);
  assert.equal(bad, 0);
  assert.ok(done > ROUNDS / 10, `only ${done} loads`);
});

test("a load that does not look at the generation is caught", async () => {
  assert.ok((await duelOfLoads("load-unchecked", ROUNDS_TO_CATCH)).bad > 0);
});

test("a load that looks at the generation before it reads, not after, is caught", async () => {
  assert.ok((await duelOfLoads("load-checked-before", ROUNDS_TO_CATCH)).bad > 0);
});

/**
 * Each round: the page's count moves to the other frame, by a copy after the flush. Returns adds
 * that were lost, and adds in all.
 */
async function duelOfAdds(
  kind: ShootdownJob["kind"],
  rounds: number,
): Promise<{ lost: number; done: number }> {
  const duel = new Duel();
  const { words, frames } = duel;
  let strays = 0;
  duel.map(frames[0]);
  let current = 0;
  await fight(duel, kind, rounds, (i) => {
    const [leaving, coming] = i % 2 === 0 ? frames : frames.toReversed();
    if (leaving === undefined || coming === undefined) return true;
    if (i > 0 && duel.frame(coming) !== BAD) strays++; // somebody added to it after its flush
    duel.unmap();
    duel.setFrame(coming, duel.frame(leaving));
    duel.setFrame(leaving, BAD);
    duel.map(coming);
    current = coming;
    duel.waitForWork();
    return strays > 0;
  });
  const done = duel.read(words.done);
  return { lost: strays > 0 ? strays : done - duel.frame(current), done };
}

test("an add is never lost and never goes to a frame after its flush", async () => {
  const { lost, done } = await duelOfAdds("add", ROUNDS);
  assert.equal(lost, 0);
  assert.ok(done > ROUNDS / 10, `only ${done} adds`);
});

test("an add that checks the generation without being inside is caught", async () => {
  assert.notEqual((await duelOfAdds("add-not-inside", ROUNDS_TO_CATCH)).lost, 0);
});
