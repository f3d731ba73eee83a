/**
 * @module A thread of the CPU that dies while it tells a WebGPU device of a change, or while it
 * waits for a page that only the GPU has; on a model GPU. Who finds it dead notes that every page
 * has changed (devices/webgpu-record/repair-record.ts), and goes on with what it had begun. The
 * device's Worker runs on meanwhile, and no byte is wrong. The twins forget what others had noted,
 * or wait for the dead.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PrivatePages, type PrivateParts } from "../../../../src/devices/webgpu/private-pages.ts";
import { DRIVER_LOCK, WebGpuRecord } from "../../../../src/devices/webgpu-record/record.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { registerRepairer, repairerOf } from "../../../../src/sync/death/repair.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Completion } from "../../../../src/sync/primitives/completion.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADD,
  BEFORE,
  type Body,
  CHUNK,
  type Parts,
  READ_PAGE,
  WRITTEN_PAGE,
  between,
  checkSum,
  chunkAndChunk,
  chunks,
  contentOf,
  make,
  outcomeOf,
  requireCoherent,
  server,
} from "../devices/webgpu-stage.ts";

/** A page that the chunk does not use. */
const OTHER_PAGE: number = HARNESS_PAGE + 2;

type Case = Omit<Parts, "name" | "summary">;

/** Machines on which the log of a dead thread's device is emptied. */
const emptied = new WeakSet<SharedMemory>();
const repair = repairerOf(DRIVER_LOCK);
registerRepairer(DRIVER_LOCK, (memory, lock) => {
  if (!emptied.has(memory)) return repair?.(memory, lock) ?? DONE;
  WebGpuRecord.at(memory, WebGpuRecord.containerOf(lock, "driverLock")).logged = 0;
  return DONE;
});

/** Two invalidations: what the first has noted must not go with the second. */
const discardTwo: Body = function* (_world, harness) {
  yield* harness.discard(READ_PAGE, 1);
  yield* harness.discard(OTHER_PAGE, 1);
};

const discardAndEmpty: Body = (world, harness) => {
  emptied.add(harness.machine.memory);
  return discardTwo(world, harness);
};

const told: Case = {
  tasks: { chunk: chunks([ADD]), discard: discardTwo },
  pages: 3,
  killable: "discard",
  preemptions: 0,
  check: (world, harness) => checkSum(world, harness, [BEFORE, 0]),
};

const load = (harness: HmmHarness): Task<number> =>
  new HarnessCpu(harness).load(WRITTEN_PAGE * PAGE_BYTES);

/**
 * It may die while it waits for the page, or holds the driver lock to ask for it, or, when the page
 * has come, frees the device's frame.
 */
const waiting: Case = {
  tasks: { chunk: chunkAndChunk(ADD, ADD), server, load: between(load) },
  variant: { privateFrames: 2 },
  killable: "load",
  preemptions: 0,
  check(world, harness) {
    assert(outcomeOf(world) === "done", `the chunk is ${outcomeOf(world)}`);
    const sum = contentOf(world, harness, WRITTEN_PAGE, 0);
    assert(sum === 2 * (BEFORE + 1), `the sum is ${sum}`);
    for (const seen of world.seen) assert(seen === BEFORE + 1, `a thread has seen ${seen}`);
    requireCoherent(world, harness);
  },
};

/** Who has brought a page home waits until it has been copied from there. */
class WaitsForThanks extends PrivatePages {
  readonly #answered: Completion;
  #thanked = 0;

  constructor(parts: PrivateParts) {
    super(parts);
    this.#answered = parts.record.answered;
  }

  protected override *unlockToServe(): Task<void> {
    yield* super.unlockToServe();
    for (; this.#thanked < this.counts.requests; this.#thanked++) yield* this.#answered.wait();
  }
}

const loadAndThank: Body = function* (world, harness) {
  yield* between(load)(world, harness);
  for (const { record } of world.devices) yield* record.answered.complete();
};

const NAME = "death/webgpu";

export const deathsBesideWebGpu: readonly Covered[] = [
  {
    layer: "devices",
    scenario: make({
      name: `${NAME}-told-vs-chunk`,
      summary:
        "A thread dies at any step of two discards of which a WebGPU device is told, while it runs a chunk on the first page.",
      ...told,
    }),
    twins: [
      make({
        name: `${NAME}-told-vs-chunk/empties-the-log`,
        summary: "The device's log is emptied for the dead thread, and with it the first note.",
        ...told,
        tasks: { ...told.tasks, discard: discardAndEmpty },
        expects: "assertion",
      }),
    ],
    runs: {
      chunk: CHUNK,
      discard: ["devices/webgpu-record/record.logRange", "devices/webgpu-record/record.noteAll"],
    },
  },
  {
    layer: "devices",
    scenario: make({
      name: `${NAME}-waiting-vs-chunk`,
      summary:
        "A thread dies while it waits for a page that only the GPU has, which the next chunk stores to.",
      ...waiting,
    }),
    twins: [
      make({
        name: `${NAME}-waiting-vs-chunk/waits-for-thanks`,
        summary: "Who has brought a page home waits for who wanted it.",
        ...waiting,
        tasks: { ...waiting.tasks, load: loadAndThank },
        variant: { ...waiting.variant, PrivatePages: WaitsForThanks },
        expects: "deadlock",
      }),
    ],
    runs: {
      chunk: [...CHUNK, "devices/webgpu/private-pages.commit"],
      server: ["devices/webgpu/private-pages.serve", "devices/webgpu/private-pages.flush"],
      load: ["devices/webgpu-record/private-memory.want"],
    },
  },
];
