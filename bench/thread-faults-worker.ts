/**
 * @module A thread that stores to each page of a range whenever it is told to: see
 * thread-faults.ts.
 */

import { hrtime } from "node:process";
import { workerData } from "node:worker_threads";
import { AddressSpace } from "../src/index.ts";
import {
  AWAKE,
  BEGAN,
  DONE,
  END,
  ENDED,
  FAILED,
  GO,
  GO_STEP,
  PLAN_WORDS,
  READY,
  START,
  STEP,
  type TouchJob,
} from "./thread-faults-job.ts";

const PAGE_BYTES = 4096;
const { handle, lengthBytes, control, plan, number } = workerData as TouchJob;
const at = number * PLAN_WORDS;

function touchPages(space: AddressSpace): void {
  const { u32 } = space;
  const [end, step] = [plan[at + END]!, plan[at + STEP]!];
  for (let address = plan[at + START]!; address < end; address += step) u32.store(address, 1);
}

function touchPlain(): void {
  const words = new Uint32Array(new SharedArrayBuffer(lengthBytes));
  for (let i = 0; i < words.length; i += PAGE_BYTES / 4) words[i] = 1;
}

/** The same clock in all threads, unlike performance.now. */
function nowMs(): number {
  return Number(hrtime.bigint()) / 1e6;
}

try {
  const space = handle === undefined ? undefined : AddressSpace.attachSync(handle);
  let go = Atomics.load(control, GO);
  Atomics.add(control, READY, 1);
  Atomics.notify(control, READY);
  for (;;) {
    while (Atomics.load(control, GO) === go) Atomics.wait(control, GO, go);
    go = Atomics.load(control, GO);
    const threads = go % GO_STEP;
    if (number >= threads) continue;
    Atomics.add(control, AWAKE, 1);
    while (Atomics.load(control, AWAKE) < threads);
    plan[at + BEGAN] = nowMs();
    if (space === undefined) touchPlain();
    else touchPages(space);
    plan[at + ENDED] = nowMs();
    Atomics.add(control, DONE, 1);
    Atomics.notify(control, DONE);
  }
} catch (error) {
  Atomics.store(control, FAILED, 1);
  throw error;
}
