/**
 * @module A chunk of the WebGPU device as a transaction, on a model GPU, beside CPU threads that
 * store to its pages or discard them (devices/webgpu/chunk.ts). Each twin leaves out one thing that
 * makes it right: the note of an invalidation, or the recheck before a page is copied.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { Bringer } from "../../../../src/devices/webgpu/bring.ts";
import { FramePool } from "../../../../src/devices/webgpu/frame-pool.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { ModelProgram } from "./model-gpu.ts";
import { wordOf } from "./stage.ts";
import {
  ADD,
  AFTER,
  BEFORE,
  type Body,
  CHUNK,
  FORGETFUL_OPS,
  LATE_PAGE,
  type Parts,
  READ_PAGE,
  WRITTEN_PAGE,
  checkSum,
  chunks,
  make,
  requireCoherent,
} from "./webgpu-stage.ts";

/** What the CPU stores beside the kernel's word, in the page that the kernel writes. */
const OWN = 5;

/** It copies whatever it has read. */
class DoesNotRecheck extends Bringer {
  protected override *isStillValid(): Task<boolean> {
    return true;
  }
}

/** The device's Worker. */
const chunk = chunks([ADD]);

const storeTo =
  (page: number, index: number, value: number): Body =>
  (_world, harness) =>
    new HarnessCpu(harness).store(page * PAGE_BYTES + index * 4, value);

const discard: Body = (_world, harness) => harness.discard(READ_PAGE, 1);

/**
 * Two workgroups store what they have loaded, beside each other. The second one finds out late that
 * it needs a third page: the first need not run again.
 */
const COPY: ModelProgram = {
  name: "copy",
  isPure: true,
  workgroups: 2,
  workgroup: (memory, workgroup) => {
    const value = memory.load(READ_PAGE * PAGE_BYTES);
    if (workgroup === 1 && value !== 0) memory.load(LATE_PAGE * PAGE_BYTES);
    memory.store(WRITTEN_PAGE * PAGE_BYTES + workgroup * 4, value);
  },
};

/** It does not say that pages have gone. */
class HidesLosses extends FramePool {
  override get lostPages(): number {
    return 0;
  }
}

const storeReplayed: Omit<Parts, "name" | "summary"> = {
  tasks: { chunk: chunks([COPY]), store: storeTo(READ_PAGE, 0, AFTER) },
  check(world, harness) {
    const [first, second] = [wordOf(harness, WRITTEN_PAGE, 0), wordOf(harness, WRITTEN_PAGE, 1)];
    const isOne = first === second && (first === BEFORE || first === AFTER);
    assert(isOne, `the workgroups have stored ${first} and ${second}`);
    requireCoherent(world, harness);
  },
  pages: 6,
  variant: { frames: 8 },
};

const storeBeside: Omit<Parts, "name" | "summary"> = {
  tasks: { chunk, store: storeTo(WRITTEN_PAGE, 1, OWN) },
  check: (world, harness) => {
    checkSum(world, harness, [BEFORE]);
    const own = wordOf(harness, WRITTEN_PAGE, 1);
    assert(own === OWN, `the CPU's word is ${own}: its store was lost`);
  },
};
const storeRead: Omit<Parts, "name" | "summary"> = {
  tasks: { chunk, store: storeTo(READ_PAGE, 0, AFTER) },
  check: (world, harness) => checkSum(world, harness, [BEFORE, AFTER]),
  preemptions: 2,
};
const discardRead: Omit<Parts, "name" | "summary"> = {
  tasks: { chunk, discard },
  check: (world, harness) => checkSum(world, harness, [BEFORE, 0]),
};

export const webGpuChunks: readonly Covered[] = [
  {
    layer: "devices",
    scenario: make({
      name: "webgpu-chunk-vs-store",
      summary: "A chunk writes a page, in which the CPU stores to a word of its own.",
      ...storeBeside,
    }),
    twins: [
      make({
        name: "webgpu-chunk-vs-store/no-note",
        summary: "The invalidation leaves no note for the device.",
        ...storeBeside,
        variant: { opsId: FORGETFUL_OPS },
        expects: "assertion",
      }),
    ],
    runs: { chunk: CHUNK, store: ["devices/webgpu-record/record.logRange"] },
  },
  {
    layer: "devices",
    scenario: make({
      name: "webgpu-locked-chunk-vs-store",
      summary: "The same, with the driver lock held during the pass from the first on.",
      ...storeBeside,
      variant: { staleMax: 0 },
    }),
    twins: [
      make({
        name: "webgpu-locked-chunk-vs-store/no-lock",
        summary: "The invalidation neither takes the lock nor leaves a note.",
        ...storeBeside,
        variant: { staleMax: 0, opsId: FORGETFUL_OPS },
        expects: "assertion",
      }),
    ],
    runs: { chunk: CHUNK, store: ["devices/webgpu-record/record.logRange"] },
  },
  {
    layer: "devices",
    scenario: make({
      name: "webgpu-chunk-vs-store-to-read",
      summary: "A chunk reads a page to which the CPU stores.",
      ...storeRead,
    }),
    twins: [
      make({
        name: "webgpu-chunk-vs-store-to-read/does-not-recheck",
        summary: "The device copies a page although its mapping has changed since it was read.",
        ...storeRead,
        variant: { Bringer: DoesNotRecheck },
        expects: "assertion",
      }),
    ],
    runs: { chunk: CHUNK, store: ["devices/webgpu-record/record.logRange"] },
  },
  {
    layer: "devices",
    scenario: make({
      name: "webgpu-chunk-vs-discard",
      summary: "A chunk reads a page that the CPU discards.",
      ...discardRead,
    }),
    twins: [
      make({
        name: "webgpu-chunk-vs-discard/no-note",
        summary: "The invalidation leaves no note for the device.",
        ...discardRead,
        variant: { opsId: FORGETFUL_OPS },
        expects: "assertion",
      }),
    ],
    runs: { chunk: CHUNK, discard: ["devices/webgpu-record/record.logRange"] },
  },
  {
    layer: "devices",
    scenario: make({
      name: "webgpu-replay-vs-store",
      summary:
        "One of two pure workgroups runs again alone; the CPU stores to what both have read.",
      ...storeReplayed,
    }),
    twins: [
      make({
        name: "webgpu-replay-vs-store/keeps-what-is-old",
        summary: "What the other has stored stands, although what it has read is gone.",
        ...storeReplayed,
        variant: { frames: 8, Pool: HidesLosses },
        expects: "assertion",
      }),
    ],
    runs: { chunk: CHUNK, store: ["devices/webgpu-record/record.logRange"] },
  },
  {
    layer: "devices",
    scenario: make({
      name: "webgpu-locked-replay-vs-store",
      summary: "The same, with the driver lock held during each pass.",
      ...storeReplayed,
      variant: { frames: 8, staleMax: 0 },
    }),
    twins: [
      make({
        name: "webgpu-locked-replay-vs-store/keeps-what-is-old",
        summary: "What the other has stored stands, although what it has read is gone.",
        ...storeReplayed,
        variant: { frames: 8, staleMax: 0, Pool: HidesLosses },
        expects: "assertion",
      }),
    ],
    runs: { chunk: CHUNK, store: ["devices/webgpu-record/record.logRange"] },
  },
];
