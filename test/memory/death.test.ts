/**
 * @module Threads that are terminated at any instruction: the frames in their free lists are not
 * lost, and no other thread hangs.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import type { Machine } from "../../src/memory/machine.ts";
import { atomicLoad } from "../../src/sync/atomics.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { makeMachine, run, seedFor } from "./harness.ts";
import { diceOf } from "../dice.ts";

const RAM_PAGES = 2048;
const DEATHS = 16;
/** Frames that the worker allocates in one burst, and so the most that it holds when it dies. */
const BURST_FRAMES = 50;

function* allocAll(machine: Machine): Task<number[]> {
  const frames: number[] = [];
  for (
    let pfn = yield* machine.ram.allocFrame(false);
    pfn !== 0;
    pfn = yield* machine.ram.allocFrame(false)
  )
    frames.push(pfn);
  return frames;
}

async function killOne(machine: Machine, delay: number): Promise<void> {
  const progress = run(machine, machine.heap.root("progress"));
  const worker = new Worker(new URL("./death-worker.js", import.meta.url), {
    workerData: { handle: machine.handle, progress },
  });
  const exited = new Promise((resolve) => worker.once("exit", resolve));
  const start = atomicLoad(machine.memory.words, progress);
  while (atomicLoad(machine.memory.words, progress) === start)
    await new Promise((resolve) => setImmediate(resolve));
  for (let spin = 0; spin < delay; spin++) atomicLoad(machine.memory.words, progress);
  await worker.terminate();
  await exited;
}

test("a thread that is terminated anywhere leaves all frames but those it held, and stops nobody", async (t) => {
  const seed = seedFor(t);
  const dice = diceOf(seed);
  const machine = makeMachine({ ramPages: RAM_PAGES, debug: false });
  let gone = 0;
  for (let death = 0; death < DEATHS; death++) {
    const where = `seed ${seed}, death ${death}`;
    await killOne(machine, dice(20_000));
    const frames = run(machine, allocAll(machine));
    assert.equal(new Set(frames).size, frames.length, `${where}: a frame was handed out twice`);
    assert.ok(
      RAM_PAGES - frames.length - gone <= BURST_FRAMES,
      `${where}: more frames are gone than it can have held`,
    );
    assert.equal(
      machine.ram.usage().freePages,
      0,
      `${where}: full is full, freeLists of the dead included`,
    );
    gone = RAM_PAGES - frames.length;
    run(machine, freeAll(machine, frames));
    assert.equal(machine.ram.usage().usedPages, gone, where);
  }
});

function* freeAll(machine: Machine, frames: readonly number[]): Task<void> {
  for (const pfn of frames) yield* machine.ram.refs.pagePut(pfn);
}
