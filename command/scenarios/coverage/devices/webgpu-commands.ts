/**
 * @module The WebGPU device's commands, on a model GPU, beside CPU threads that store to the pages
 * or unmap them (devices/webgpu/commands.ts). Each twin leaves out what makes it right.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  type Outcome,
  prefetch,
  snapshot,
  transfer,
} from "../../../../src/devices/webgpu/commands.ts";
import { drainLog, withDriverLock } from "../../../../src/devices/webgpu-record/record.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  AFTER,
  type Body,
  FORGETFUL_OPS,
  type Opened,
  type Parts,
  READ_PAGE,
  TIMEOUT_MS,
  type Variant,
  WRITTEN_PAGE,
  type World,
  beside,
  closeRunner,
  contentOf,
  make,
  openRunner,
  requireCoherent,
  server,
} from "./webgpu-stage.ts";

const WRITTEN: number = WRITTEN_PAGE * PAGE_BYTES;
/** What the device stores to the first word of a page, and the CPU to the second. */
const BY_DEVICE = 9;
const BY_CPU = 5;

type Case = Omit<Parts, "name" | "summary">;

/** READ or WRITE of the first words of the page that is written. */
function transferWords(
  { runner, parts }: Opened,
  access: "read" | "write",
  words: Uint32Array<ArrayBuffer>,
): Task<Outcome> {
  const bytes = new Uint8Array(words.buffer);
  return transfer({ parts, runner, address: WRITTEN, bytes, access, timeoutMs: TIMEOUT_MS });
}

function requireDone({ errno }: Outcome, command: string): void {
  assert(errno === 0, `${command} has failed: ${errno}`);
}

/** The device writes a word, and reads it with the one beside it. */
const writeAndRead: Body = function* (world, harness) {
  const opened = yield* openRunner(world, 0, harness);
  requireDone(yield* transferWords(opened, "write", Uint32Array.of(BY_DEVICE)), "WRITE");
  const words = new Uint32Array(2);
  requireDone(yield* transferWords(opened, "read", words), "READ");
  world.seen.push(...words);
  yield* closeRunner(world, opened);
};

const storeBeside: Body = (_world, harness) => new HarnessCpu(harness).store(WRITTEN + 4, BY_CPU);

function checkTransfers(world: World, harness: HmmHarness): void {
  const [first, second] = world.seen;
  assert(first === BY_DEVICE, `the device has written ${BY_DEVICE}, and read ${first}`);
  assert(second === 0 || second === BY_CPU, `the device has read ${second}`);
  const words = [0, 1].map((index) => contentOf(world, harness, WRITTEN_PAGE, index));
  assert(words[0] === BY_DEVICE && words[1] === BY_CPU, `the page has ${words.join(", ")}`);
  requireCoherent(world, harness);
}

const transfers: Case = {
  tasks: { device: writeAndRead, store: storeBeside },
  check: checkTransfers,
};

const privateTransfers: Case = {
  tasks: { device: writeAndRead, server, store: beside(storeBeside) },
  variant: { privateFrames: 2 },
  check: checkTransfers,
};

/**
 * A page is prefetched, and again after this thread has stored to it: then the device has it,
 * unless the other thread has stored to it since.
 */
const prefetchTwice: Body = function* (world, harness) {
  const opened = yield* openRunner(world, 0, harness);
  const { parts, own } = opened;
  requireDone(yield* prefetch(parts, READ_PAGE, READ_PAGE + 1), "PREFETCH");
  yield* new HarnessCpu(harness).store(READ_PAGE * PAGE_BYTES, AFTER);
  const isAtRest = world.seen.length > 0;
  requireDone(yield* prefetch(parts, READ_PAGE, READ_PAGE + 1), "PREFETCH");
  yield* withDriverLock(own.record, () => drainLog(own.record, own.pool.strike));
  const isThere = own.pool.frameOf(READ_PAGE) !== 0;
  assert(isThere || !isAtRest, "the device has not the page that was prefetched");
  yield* closeRunner(world, opened);
};

const prefetched: Case = {
  tasks: {
    device: prefetchTwice,
    *store({ seen }, harness) {
      yield* new HarnessCpu(harness).store(READ_PAGE * PAGE_BYTES + 4, BY_CPU);
      seen.push(BY_CPU);
    },
  },
  check: requireCoherent,
};

const takeSnapshot: Body = function* (world, harness) {
  const device = world.devices[0];
  assert(device !== undefined, "there is a device");
  const pages = yield* snapshot({
    machine: harness.machine,
    mirror: device.mirror,
    owner: 0,
    startPage: READ_PAGE,
    endPage: WRITTEN_PAGE + 1,
    timeoutMs: TIMEOUT_MS,
  });
  assert(Array.isArray(pages), "a snapshot can be taken");
  const [first, second] = pages;
  assert(first === "write" || first === "none", `the first page is ${first}`);
  assert(second === "write" || second === "error", `the second page is ${second}`);
};

const unmapped: Case = {
  tasks: {
    device: takeSnapshot,
    *unmap(_world, harness) {
      yield* harness.discard(READ_PAGE, 1);
      yield* doMunmap(harness.machine, harness.mm, WRITTEN, PAGE_BYTES);
    },
  },
  check: (_world, harness) => assert(harness.entryOf(WRITTEN_PAGE) === 0, "the page is mapped yet"),
};

type Twin = Omit<Parts, "tasks" | "check" | "variant"> & { readonly variant: Partial<Variant> };

function covered(
  name: string,
  summary: string,
  parts: Case,
  runs: Covered["runs"],
  ...twins: readonly Twin[]
): Covered {
  return {
    layer: "devices",
    scenario: make({ name: `webgpu-${name}`, summary, ...parts }),
    twins: twins.map((one) =>
      make({
        expects: "assertion",
        ...parts,
        ...one,
        name: `webgpu-${name}/${one.name}`,
        variant: { ...parts.variant, ...one.variant },
      }),
    ),
    runs,
  };
}

const NO_NOTE: Twin = {
  name: "no-note",
  summary: "The invalidation leaves no note for the device.",
  variant: { opsId: FORGETFUL_OPS },
};
const TRANSFER = ["devices/webgpu/commands.transfer", "devices/webgpu/bring.bring"] as const;
const NOTES = ["devices/webgpu-record/record.logRange"] as const;

export const webGpuCommands: readonly Covered[] = [
  covered(
    "transfers-vs-store",
    "The device writes a word and reads two, and the CPU stores to the second.",
    transfers,
    { device: TRANSFER, store: NOTES },
    NO_NOTE,
  ),
  covered(
    "private-transfers-vs-store",
    "The same, and what is written stays on the GPU until the CPU needs it.",
    privateTransfers,
    { device: TRANSFER, server: ["devices/webgpu/private-pages.serve"], store: NOTES },
    NO_NOTE,
  ),
  covered(
    "prefetch-vs-store",
    "A page is prefetched twice, and the CPU stores to it.",
    prefetched,
    { device: ["devices/webgpu/commands.prefetch"], store: NOTES },
    NO_NOTE,
  ),
  covered(
    "snapshot-vs-munmap",
    "A snapshot of two pages, of which the first is discarded, and the second unmapped.",
    unmapped,
    {
      device: ["devices/webgpu/commands.snapshot"],
      unmap: ["mm/calls/madvise.doMadvise", "mm/calls/munmap.doMunmap"],
    },
  ),
];
