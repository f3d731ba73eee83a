/**
 * @module Fresh memory from the operating system costs what the machine below it makes of it: on a
 * virtual machine whose host takes free pages away, the same `fill` takes 0.1 s or 1 s. Whoever
 * measures first touches gives as much memory back directly before each of them, so that both sides
 * find pages that the host has not taken yet.
 */

import { setTimeout as sleep } from "node:timers/promises";

/**
 * Unmapping a large buffer goes on in a thread of the collector for a while after it was collected.
 */
const SETTLE_MS = 100;

/** Commits `lengthBytes`, gives them back and waits until the operating system has them. */
export async function warmMemory(lengthBytes: number): Promise<void> {
  touchOnce(lengthBytes);
  await collectGarbage();
}

function touchOnce(lengthBytes: number): void {
  new Float64Array(new SharedArrayBuffer(lengthBytes)).fill(1);
}

async function collectGarbage(): Promise<void> {
  if (globalThis.gc === undefined)
    throw new Error("start node with --expose-gc: buffers must be given back when told");
  globalThis.gc();
  await sleep(0);
  globalThis.gc();
  await sleep(SETTLE_MS);
}
