/** @module A WebGPU device whose Worker does not start: the error has what the host said. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { AddressSpace } from "../../../src/index.ts";
import { WebGpuDevice } from "../../../src/webgpu.ts";

test("a Worker that does not start is told with what the host said", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      "throw new Error('thrown at once')",
      /Worker did not start: the host said: thrown at once; if/,
    ],
    ["0", /its Worker did not start: the host said: it has ended; if the program is bundled/],
  ];
  for (const [text, message] of cases) {
    const worker = (): Worker => new Worker(new URL(`data:text/javascript,${text}`));
    const made = WebGpuDevice.create(space, { memoryBytes: 2 ** 20, worker });
    await assert.rejects(made, { code: "ENODEV", message });
  }
  await space.dispose();
});
