/**
 * @module The Worker that owns a device is terminated while nothing runs on it: what the device had
 * is given back, and other threads go on. (With a dispatch under way Dawn ends the process.)
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { AddressSpace, SegmentationFault } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import type { OwnerStart } from "./owner-agent.ts";

const PAGE = 4096;

/** An owner that has used its device, and is terminated. */
async function useAndEnd(start: OwnerStart): Promise<void> {
  const worker = new Worker(new URL("./owner-agent.js", import.meta.url), { workerData: start });
  await new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  await worker.terminate();
}

test("an owner is terminated", { skip: missingGpu, timeout: 60_000 }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 23 });
  const at = await space.mmap(2 * PAGE);
  for (let round = 1; round <= 2; round++) {
    await useAndEnd({ handle: space.handle, at });
    // its page was exclusive to the device that is gone
    assert.equal(space.u32.load(at), 64 * round);
    await space.mprotect(at, PAGE, "read");
    await space.mprotect(at, PAGE, "read-write");
  }
  await space.munmap(at + PAGE, PAGE);
  await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
  const back = new Uint8Array(4);
  await device.read(at, back);
  assert.equal(new Uint32Array(back.buffer)[0], 128);
});

test(
  "an owner is terminated, and with it what the GPU alone had",
  { skip: missingGpu, timeout: 60_000 },
  async () => {
    await using space = await AddressSpace.create({ ramBytes: 2 ** 23 });
    const at = await space.mmap(2 * PAGE);
    space.u32.store(at + PAGE, 7);
    await useAndEnd({ handle: space.handle, at, memory: "private" });
    const named = new RegExp(
      `stored to 0x${at.toString(16)} to 0x${(at + PAGE).toString(16)}`,
      "u",
    );
    for (let tries = 0; tries < 2; tries++)
      assert.throws(
        () => space.u32.load(at),
        (error) =>
          error instanceof SegmentationFault &&
          error.signal === "SIGBUS" &&
          named.test(error.message),
      );
    assert.equal(space.u32.load(at + PAGE), 7);
    await space.madvise(at, PAGE, "dontneed");
    assert.equal(space.u32.load(at), 0);
    await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
    const back = new Uint8Array(4);
    await device.read(at, back);
    assert.deepEqual([...back], [0, 0, 0, 0]);
  },
);
