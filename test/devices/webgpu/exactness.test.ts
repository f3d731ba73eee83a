/**
 * @module Kernels at random under budgets from hopeless to ample: paged as plain, word for word.
 * The long form: `HMM_GPU_SEEDS=500 node --enable-source-maps --test
 * .build/test/devices/webgpu/exactness.test.js`; `HMM_GPU_SEED=N` runs one seed again.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkExactness } from "./exactness.ts";
import { missingGpu } from "./find-gpu.ts";

const one = process.env["HMM_GPU_SEED"];
const count = Number(process.env["HMM_GPU_SEEDS"] ?? 5);
const first = one === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(one);
const BUDGETS = [400, 60, 40, 24, 8];

test(
  "generated kernels leave the words that they leave when all memory is bound",
  {
    skip: missingGpu,
    timeout: 120_000 + count * 20_000,
  },
  async (t) => {
    for (let i = 0; i < (one === undefined ? count : 1); i++) {
      const seed = first + i;
      const devicePages = BUDGETS[seed % BUDGETS.length] ?? 60;
      const isDisturbed = seed % 7 < 4;
      const isSplit = seed % 3 === 0;
      const isPure = seed % 11 < 4;
      const isOwn = seed % 4 === 1;
      const isTakenForGpu = isOwn && seed % 8 > 3;
      const isPrivate = !isOwn && seed % 8 > 3;
      const given = {
        seed,
        devicePages,
        isDisturbed,
        isSplit,
        isPure,
        isOwn,
        isTakenForGpu,
        isPrivate,
      };
      const report = await checkExactness(given);
      const { outcome, result, disturbances, staleCommits } = report;
      t.diagnostic(
        `HMM_GPU_SEED=${seed}: ${devicePages} pages${isSplit ? " in pieces" : ""}` +
          `${isPure ? ", pure" : ""}${isOwn ? ", own GPUDevice" : ""}` +
          `${isTakenForGpu ? " as a GPU's" : ""}${isPrivate ? ", private" : ""}, ` +
          `${result?.passes ?? 0} passes, ` +
          `${result?.evictions ?? 0} evicted, ${disturbances} disturbances, ${staleCommits} stale`,
      );
      if (outcome !== "too small") assert.equal(outcome, "equal", `HMM_GPU_SEED=${seed}`);
      else assert.ok(devicePages < 400, `HMM_GPU_SEED=${seed}: ample, and yet too small`);
    }
  },
);
