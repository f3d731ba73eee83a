/**
 * @module Heap and RAM with several threads at once: no memory is allocated twice, and the
 * accounting is exact at the end.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { HEAP_BYTES_MIN, type Machine } from "../../src/memory/machine.ts";
import { MIB, makeMachine, run, seedFor } from "./harness.ts";
import { Node } from "./shared-structs.ts";
import { type StressJob, type StressReport, startStress } from "./threads.ts";
import { diceOf } from "../dice.ts";

const THREADS = 3;

function stressAll(
  machine: Machine,
  kind: StressJob["kind"],
  seed: number,
  steps: number,
): Promise<StressReport[]> {
  const dice = diceOf(seed);
  const owners = new SharedArrayBuffer(4 * 2 ** 16);
  const jobs = Array.from({ length: THREADS }, () => ({
    kind,
    handle: machine.handle,
    seed: dice(2 ** 31),
    steps,
    owners,
  }));
  return Promise.all(jobs.map((job) => startStress(job)));
}

function sumOf(reports: readonly StressReport[], of: (report: StressReport) => number): number {
  return reports.reduce((sum, report) => sum + of(report), 0);
}

test("threads allocate and free in one heap: no word is anybody else's, and nothing is left", async (t) => {
  const seed = seedFor(t);
  const machine = makeMachine({ heapBytes: 16 * MIB, debug: false });
  const before = machine.heap.accounting();
  const reports = await stressAll(machine, "heap", seed, 8000);
  for (const { wrong } of reports) assert.equal(wrong, undefined, `seed ${seed}`);
  assert.deepEqual(machine.heap.accounting(), before, `seed ${seed}`);
});

test("the same in a heap too small for all of them: full is an answer, nobody hangs, nothing is left", async (t) => {
  const seed = seedFor(t);
  const machine = makeMachine({ heapBytes: HEAP_BYTES_MIN + 2 ** 18, debug: true });
  const before = machine.heap.accounting();
  const reports = await stressAll(machine, "heap", seed, 4000);
  for (const { wrong } of reports) assert.equal(wrong, undefined, `seed ${seed}`);
  assert.ok(sumOf(reports, ({ full }) => full) > 0, `seed ${seed}: never full`);
  assert.deepEqual(machine.heap.accounting(), before, `seed ${seed}`);
  assert.notEqual(run(machine, machine.heap.allocWords(4096)), 0, "and the heap works on");
});

test("threads allocate frames, with freeLists and without, plenty and short of them: each has its own", async (t) => {
  const seed = seedFor(t);
  for (const ramPages of [128, 512, 4096]) {
    const machine = makeMachine({ ramPages, debug: false });
    const reports = await stressAll(machine, "frames", seed, 10_000);
    for (const { wrong } of reports)
      assert.equal(wrong, undefined, `seed ${seed}, ${ramPages} pages`);
    if (ramPages === 128)
      assert.ok(sumOf(reports, ({ full }) => full) > 0, `seed ${seed}: never full`);
    assert.deepEqual(
      machine.ram.usage(),
      { totalPages: ramPages, freePages: ramPages, usedPages: 0 },
      `seed ${seed}`,
    );
    // Threads that have left had frames in their free lists: one allocation of all of RAM gets
    // those too.
    assert.notEqual(
      run(machine, machine.ram.allocRun(ramPages, false)),
      0,
      `seed ${seed}, ${ramPages} pages`,
    );
  }
});

test("the same allocator without its lock is caught handing out a frame twice, or losing its accounting", async (t) => {
  const seed = seedFor(t);
  for (let attempt = 0; attempt < 20; attempt++) {
    const machine = makeMachine({ ramPages: 400, debug: false });
    const reports = await stressAll(machine, "frames-without-lock", seed + attempt, 20_000);
    if (reports.some(({ wrong }) => wrong !== undefined)) return;
    if (machine.ram.usage().usedPages !== 0) return;
  }
  assert.fail(`seed ${seed}: twenty runs without the lock went unnoticed`);
});

test("threads that ask for a singleton at once get the same one, and the losers' are freed", async (t) => {
  const seed = seedFor(t);
  for (let round = 0; round < 5; round++) {
    const machine = makeMachine({ debug: false });
    const reports = await stressAll(machine, "singleton", seed, 0);
    const [first] = reports;
    assert.ok(first !== undefined && first.at !== 0);
    for (const { at, wrong } of reports)
      assert.deepEqual({ at, wrong }, { at: first.at, wrong: undefined });
    assert.notEqual(Node.at(machine.memory, first.at).mark, 0);
    assert.deepEqual(
      machine.heap.accounting().find(({ name }) => name === "threadNode"),
      { name: "threadNode", live: 1, bytes: Node.sizeWords * 4 },
    );
  }
});
