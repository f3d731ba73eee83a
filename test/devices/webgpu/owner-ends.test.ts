/**
 * @module The Worker that owns a device is terminated while nothing runs on it: what the device had
 * is given back, and other threads go on. (With a dispatch under way Dawn ends the process.)
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { AddressSpace } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";
import type { OwnerStart } from "./owner-agent.ts";

const PAGE = 4096;

test("an owner is terminated", { skip: missingGpu, timeout: 60_000 }, async () => {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 23 });
  const at = await space.mmap(2 * PAGE);
  for (let round = 1; round <= 2; round++) {
    const workerData: OwnerStart = { handle: space.handle, at };
    const worker = new Worker(new URL("./owner-agent.js", import.meta.url), { workerData });
    await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    await worker.terminate();
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
