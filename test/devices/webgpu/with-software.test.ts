/**
 * @module A WebGPU device beside what knows nothing of it: a software device on the same address
 * space, made in either order, and threads that have loaded `hmm-ts` alone. Each sees at once what
 * the others have stored.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { AddressSpace, SoftwareDevice } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";
import { missingGpu } from "./find-gpu.ts";

const skip = missingGpu;
const timeout = 120_000;
const PAGES = 24;
const PAGE = 4096;

/** Each workgroup adds 1 to the first word of a page; `tally` of kernels.ts adds 1 as well. */
const COUNT = `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) group: vec3u) {
  let p = ptr_at(arg_ptr(0), group.x, 4096u);
  store_u32(p, load_u32(p) + 1u);
}`;

const module = new URL("../kernels.js", import.meta.url);

for (const memory of ["ram", "private"] as const) {
  for (const first of ["webgpu", "software"] as const) {
    test(
      `both devices on the same pages, ${first} first, ${memory}`,
      { skip, timeout },
      async () => {
        await using space = await AddressSpace.create({ ramBytes: 2 ** 24, debug: true });
        const at = await space.mmap(PAGES * PAGE);
        const makeGpu = (): Promise<WebGpuDevice> =>
          WebGpuDevice.create(space, { memoryBytes: 2 ** 18, memory });
        const makeSoftware = (): Promise<SoftwareDevice> =>
          SoftwareDevice.create(space, { memoryBytes: 8 * PAGE, memory: "private", threads: 2 });
        const gpuFirst = first === "webgpu" ? await makeGpu() : undefined;
        await using software = await makeSoftware();
        await using gpu = gpuFirst ?? (await makeGpu());
        const onGpu = gpu.kernel({ code: COUNT, entryPoint: "main" });
        const onSoftware = software.kernel({ module, exportName: "tally" });
        for (let round = 0; round < 4; round++) {
          await onGpu.dispatch(PAGES, { args: [at] });
          await onSoftware.dispatch(PAGES, { args: [at, PAGES] });
          for (let page = 0; page < PAGES; page++) {
            const word = at + page * PAGE;
            assert.equal(space.u32.load(word), 3 * round + 2, `page ${page} in round ${round}`);
            space.u32.store(word, 3 * round + 3);
          }
        }
        // Both at the same time, on pages of their own.
        const half = PAGES / 2;
        await Promise.all([
          onGpu.dispatch(half, { args: [at] }),
          onSoftware.dispatch(half, { args: [at + half * PAGE, half] }),
        ]);
        for (let page = 0; page < PAGES; page++) assert.equal(space.u32.load(at + page * PAGE), 13);
      },
    );
  }
}

for (const memory of ["ram", "private"] as const) {
  test(
    `a thread without hmm-ts/webgpu, attached before, ${memory}`,
    { skip, timeout },
    async () => {
      await using space = await AddressSpace.create({ ramBytes: 2 ** 24, debug: true });
      const at = await space.mmap(PAGES * PAGE);
      const thread = new Worker(new URL("./plain-thread.js", import.meta.url), {
        workerData: space.handle,
      });
      await once(thread, "message");
      {
        await using gpu = await WebGpuDevice.create(space, { memoryBytes: 2 ** 18, memory });
        const kernel = gpu.kernel({ code: COUNT, entryPoint: "main" });
        for (let round = 0; round < 3; round++) {
          await kernel.dispatch(PAGES, { args: [at] });
          thread.postMessage(at + round * PAGE);
          await once(thread, "message");
        }
      }
      const words = Array.from({ length: 4 }, (_, page) => space.u32.load(at + page * PAGE));
      assert.deepEqual(words, [4, 4, 4, 3]);
      await thread.terminate();
    },
  );
}
