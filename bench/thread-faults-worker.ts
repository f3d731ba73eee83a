/**
 * @module A thread that maps memory and stores to each page of it whenever it is told to: see
 * thread-faults.ts.
 */

import { hrtime } from "node:process";
import { workerData } from "node:worker_threads";
import { AddressSpace } from "../src/index.ts";
import {
  AWAKE,
  CLEAR,
  DONE,
  FAILED,
  GO,
  IDLE,
  READY,
  type TouchJob,
  WHO,
} from "./thread-faults-job.ts";

const PAGE_BYTES = 4096;
const { handle, kind, lengthBytes, control, times, number } = workerData as TouchJob;

function touchPages(space: AddressSpace): void {
  const address = space.mmapSync(lengthBytes);
  const { u32 } = space;
  for (let at = address; at < address + lengthBytes; at += PAGE_BYTES) u32.store(at, 1);
  lastAddress = address;
}

function touchPlain(): void {
  const words = new Uint32Array(new SharedArrayBuffer(lengthBytes));
  for (let i = 0; i < words.length; i += PAGE_BYTES / 4) words[i] = 1;
}

/** The same clock in all threads, unlike performance.now. */
function nowMs(): number {
  return Number(hrtime.bigint()) / 1e6;
}

let lastAddress = 0;
try {
  const space = AddressSpace.attachSync(handle);
  let go = Atomics.load(control, GO);
  Atomics.add(control, READY, 1);
  Atomics.notify(control, READY);
  for (;;) {
    while (Atomics.load(control, GO) === go) Atomics.wait(control, GO, go);
    go = Atomics.load(control, GO);
    const threads = Atomics.load(control, WHO);
    if (number >= threads) continue;
    Atomics.add(control, AWAKE, 1);
    while (Atomics.load(control, AWAKE) < threads);
    times[2 * number] = nowMs();
    if (kind === "no faults of ours") touchPlain();
    else touchPages(space);
    times[2 * number + 1] = nowMs();
    Atomics.add(control, DONE, 1);
    Atomics.notify(control, DONE);
    while (Atomics.load(control, CLEAR) !== go) Atomics.wait(control, CLEAR, go - 1);
    if (kind === "used frames") space.munmapSync(lastAddress, lengthBytes);
    Atomics.add(control, IDLE, 1);
    Atomics.notify(control, IDLE);
  }
} catch (error) {
  Atomics.store(control, FAILED, 1);
  throw error;
}
