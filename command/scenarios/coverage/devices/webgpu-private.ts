/**
 * @module Pages that only a GPU has, on a model of one, beside threads that need them: a touch
 * beside a commit, and beside an eviction; fork, munmap; the loss of the GPU, and the death of the
 * thread that serves. Each twin leaves out what makes it right.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { FramePool } from "../../../../src/devices/webgpu/frame-pool.ts";
import {
  DIRTY,
  PrivateChunk,
  chunksOf,
  stateOf,
  want,
} from "../../../../src/devices/webgpu-record/private-memory.ts";
import { PrivatePages } from "../../../../src/devices/webgpu/private-pages.ts";
import { WebGpuRecord } from "../../../../src/devices/webgpu-record/record.ts";
import { DeviceMemory, isDeviceFrameUsed } from "../../../../src/memory/frames/device-frames.ts";
import { registerDeviceMemoryOps } from "../../../../src/mm/fault/device-private.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { migrateFaultToRam } from "../../../../src/mm/migrate/migrate-vma.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { EFAULT, EIO } from "../../../../src/sync/errno.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { SegmentationFault, assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { ModelProgram } from "./model-gpu.ts";
import {
  ADD,
  BEFORE,
  type Body,
  CHUNK,
  FORGETFUL_OPS,
  type Parts,
  type Variant,
  WRITTEN_PAGE,
  type World,
  beside,
  chunks,
  contentOf,
  errnoOfChunk,
  make,
  outcomeOf,
  requireCoherent,
  server,
} from "./webgpu-stage.ts";

const WRITTEN: number = WRITTEN_PAGE * PAGE_BYTES;
const OTHER: number = (HARNESS_PAGE + 2) * PAGE_BYTES;
const SUM: number = BEFORE + 1;
/** What a load answers that the page's loss has ended. */
const IS_LOST = -1;

const PRIVATE: Partial<Variant> = { privateFrames: 2 };

/** As if RAM, or what it is read from, were always right. */
export const HASTY_OPS: number = registerDeviceMemoryOps("scenario hasty private memory", {
  migrateToRam: migrateFaultToRam,
});

/** It waits for who serves, also if nobody does. */
const TRUSTING_OPS: number = registerDeviceMemoryOps("scenario trusting private memory", {
  *migrateToRam(fault, device) {
    const { memory } = device;
    const record = WebGpuRecord.at(memory, PrivateChunk.at(memory, device.data).record);
    const isServed = (): boolean => stateOf(device, ptePfn(fault.pte)) !== DIRTY;
    while (!isServed()) {
      yield* want(record, ptePfn(fault.pte));
      yield* record.served.waitEvent(isServed, Infinity);
    }
    return yield* migrateFaultToRam(fault, device);
  },
});

/** Stores to a page, and then needs one that is not there. */
const storeAndMiss: ModelProgram = {
  name: "store and miss",
  workgroup: (memory) => {
    memory.store(WRITTEN, memory.load(WRITTEN) + 1);
    void memory.load(OTHER);
  },
};

function* loadOrLost(harness: HmmHarness, address: number): Task<number> {
  try {
    return yield* new HarnessCpu(harness).load(address);
  } catch (error) {
    if (error instanceof SegmentationFault && error.signal === "SIGBUS") return IS_LOST;
    throw error;
  }
}

const load: Body = function* (world, harness) {
  world.seen.push(yield* loadOrLost(harness, WRITTEN));
};

/** A store to a word that the kernel does not know. */
const storeBeside: Body = (_world, harness) => new HarnessCpu(harness).store(WRITTEN + 4, 5);

function requireDone(world: World, harness: HmmHarness, sum: number): void {
  assert(outcomeOf(world) === "done", `the chunk is ${outcomeOf(world)}`);
  const word = contentOf(world, harness, WRITTEN_PAGE, 0);
  assert(word === sum, `the sum is ${word}, not ${sum}`);
  requireCoherent(world, harness);
}

function requireSeen({ seen }: World, allowed: readonly number[]): void {
  for (const value of seen) assert(allowed.includes(value), `a thread has seen ${value}`);
}

type Case = Omit<Parts, "name" | "summary">;

const touched: Case = {
  tasks: { chunk: chunks([ADD, ADD]), server, load: beside(load) },
  variant: PRIVATE,
  check(world, harness) {
    requireDone(world, harness, 2 * SUM);
    requireSeen(world, [0, SUM, 2 * SUM]);
  },
};

const stored: Case = {
  tasks: { chunk: chunks([ADD]), server, store: beside(storeBeside) },
  variant: PRIVATE,
  preemptions: 0,
  check(world, harness) {
    requireDone(world, harness, SUM);
    assert(contentOf(world, harness, WRITTEN_PAGE, 1) === 5, "the CPU's store was lost");
  },
};

/** The second chunk misses when it has stored to the page that only the GPU has. */
const undone: Case = {
  tasks: { chunk: chunks([ADD, storeAndMiss]), server, load: beside(load) },
  variant: PRIVATE,
  pages: 3,
  check(world, harness) {
    requireDone(world, harness, SUM + 1);
    requireSeen(world, [0, SUM, SUM + 1]);
  },
};

const loadOther: ModelProgram = {
  name: "load",
  workgroup: (memory) => void memory.load(OTHER),
};

/** One frame for the pages of two chunks: what the first has stored has to leave. */
const evicted: Case = {
  tasks: {
    chunk: chunks([
      { name: "store", workgroup: (memory) => memory.store(WRITTEN, SUM) },
      loadOther,
    ]),
    server,
    store: beside(storeBeside),
  },
  variant: { privateFrames: 1, frames: 3 },
  preemptions: 0,
  pages: 3,
  check(world, harness) {
    requireDone(world, harness, SUM);
    assert(contentOf(world, harness, WRITTEN_PAGE, 1) === 5, "the CPU's store was lost");
  },
};

/** What the child's page holds when there is a child, it holds for ever. */
const fork: Body = function* (world, harness) {
  const { machine, mm } = harness;
  yield* world.losses.load(); // a step: what is before the first one is done at the beginning
  const isAfter = outcomeOf(world) === "done";
  world.child = yield* doFork(machine, mm);
  assert(world.child > 0, "there can be a child");
  const child = Mm.at(machine.memory, world.child);
  for (let i = 0; i < 2; i++) world.seen.push(yield* new HarnessCpu(harness, child).load(WRITTEN));
  if (isAfter) assert(world.seen[0] === SUM, `the child has ${world.seen[0]}, forked after it`);
};

const forked: Case = {
  tasks: { chunk: chunks([ADD]), server, fork: beside(fork) },
  variant: PRIVATE,
  check(world, harness) {
    requireDone(world, harness, SUM);
    requireSeen(world, [0, SUM]);
    const [first, second] = world.seen;
    assert(first === second, `the child's page held ${first}, and then ${second}`);
  },
};

const munmap: Body = (_world, { machine, mm }) => doMunmap(machine, mm, WRITTEN, PAGE_BYTES);

const unmapped: Case = {
  tasks: { chunk: chunks([ADD]), server, munmap: beside(munmap) },
  variant: PRIVATE,
  check(world, harness) {
    const outcome = outcomeOf(world);
    const isFault = outcome === "fault" && errnoOfChunk(world) === EFAULT;
    assert(outcome === "done" || isFault, `the chunk is ${outcome}`);
    assert(harness.entryOf(WRITTEN_PAGE) === 0, "the page is mapped yet");
    for (const { record } of world.devices) requireNoneDirty(record);
  },
};

/** Of what is free, nobody has the only bytes. */
function requireNoneDirty(record: WebGpuRecord): void {
  for (const { memory, device: at } of chunksOf(record)) {
    const device = DeviceMemory.at(memory, at);
    for (let pfn = device.basePfn; pfn < device.basePfn + device.pages; pfn++)
      if (!isDeviceFrameUsed(device, pfn))
        assert(stateOf(device, pfn) !== DIRTY, `frame ${pfn} is free, and DIRTY`);
  }
}

/** The GPU is lost while a page may be on its way home. */
const lost: Case = {
  tasks: {
    chunk: chunks([ADD]),
    server,
    load: beside(function* (world, harness) {
      yield* world.losses.store(1);
      yield* load(world, harness);
    }),
  },
  variant: PRIVATE,
  preemptions: 0,
  check(world) {
    const outcome = outcomeOf(world);
    const isLost = outcome === "fault" && errnoOfChunk(world) === EIO;
    assert(outcome === "done" || isLost, `the chunk is ${outcome}, ${errnoOfChunk(world)}`);
    requireSeen(world, [0, SUM, IS_LOST]);
    if (isLost) assert(world.seen[0] === IS_LOST || world.seen[0] === 0, "who has it has it");
  },
};

/** The thread that serves dies. */
const orphaned: Case = {
  tasks: { chunk: chunks([ADD]), server, load: beside(load) },
  variant: PRIVATE,
  killable: "server",
  preemptions: 0,
  check(world) {
    requireSeen(world, [0, SUM, IS_LOST]);
  },
};

/** What was read back is wrong if a pass runs: nobody waits for its end. */
class DoesNotWait extends PrivatePages {
  protected override *lockToServe(): Task<void> {}
  protected override *unlockToServe(): Task<void> {}
}

class DoesNotBackUp extends PrivatePages {
  override *backUp(): Task<undefined> {
    return undefined;
  }
}

/** A page that is struck leaves its frame, whatever it has. */
class KeepsNothing extends FramePool {
  override keep(): void {}
}

class LosesNothing extends PrivatePages {
  override *lose(): Task<void> {}
}

type Twin = Omit<Parts, "tasks" | "check" | "variant"> & { readonly variant: Partial<Variant> };

function covered(
  name: string,
  summary: string,
  parts: Case,
  twin: Twin,
  runs: Covered["runs"],
  ...more: readonly Twin[]
): Covered {
  const makeTwin = (one: Twin): AnyScenario =>
    make({
      expects: "assertion",
      ...parts,
      ...one,
      name: `webgpu-private-${name}/${one.name}`,
      variant: { ...parts.variant, ...one.variant },
    });
  return {
    layer: "devices",
    scenario: make({ name: `webgpu-private-${name}`, summary, ...parts }),
    twins: [twin, ...more].map(makeTwin),
    runs,
  };
}

const SERVE = ["devices/webgpu/private-pages.serve", "devices/webgpu/private-pages.flush"] as const;
const COMMIT = [...CHUNK, "devices/webgpu/private-pages.commit"] as const;
const COME_HOME = [
  "devices/webgpu-record/private-memory.migrateToRam",
  "devices/webgpu-record/private-memory.haveBytes",
] as const;
const TOUCH = [...COME_HOME, "devices/webgpu-record/private-memory.want"] as const;

export const webGpuPrivate: readonly Covered[] = [
  covered(
    "chunk-vs-load",
    "Two chunks store to a page that the CPU loads meanwhile.",
    touched,
    {
      name: "hasty",
      summary: "The page comes home without what only the GPU has.",
      preemptions: 0,
      variant: { memoryOpsId: HASTY_OPS },
    },
    { chunk: COMMIT, server: SERVE, load: TOUCH },
  ),
  covered(
    "chunk-vs-store",
    "Two chunks store to a page, in which the CPU stores to a word of its own.",
    stored,
    {
      name: "no-note",
      summary: "The invalidation leaves no note for the device.",
      variant: { opsId: FORGETFUL_OPS },
      preemptions: 1,
    },
    { chunk: COMMIT, server: SERVE, store: TOUCH },
  ),
  covered(
    "undone-vs-load",
    "A pass misses after it has stored to a page that only the GPU has.",
    undone,
    {
      name: "no-backup",
      summary: "There is no backup to undo it with.",
      variant: { PrivatePages: DoesNotBackUp },
    },
    {
      chunk: [
        ...COMMIT,
        "devices/webgpu/private-pages.backUp",
        "devices/webgpu/private-pages.restore",
      ],
      server: SERVE,
      load: TOUCH,
    },
    {
      name: "does-not-wait",
      summary: "The page is read back while the pass runs.",
      variant: { PrivatePages: DoesNotWait },
    },
  ),
  covered(
    "evicts-vs-store",
    "A page that only the GPU has makes room for another, and the CPU stores to it.",
    evicted,
    {
      name: "keeps-nothing",
      summary: "The frame with the only bytes of the page is given to another page.",
      variant: { Pool: KeepsNothing },
    },
    {
      chunk: [...COMMIT, "devices/webgpu/private-pages.makeRoom"],
      server: ["devices/webgpu/private-pages.serve"],
      store: COME_HOME,
    },
  ),
  covered(
    "chunk-vs-fork",
    "Chunks store to a page while the address space is copied; the child loads it.",
    forked,
    {
      name: "hasty",
      summary: "The child gets a copy without what only the GPU has.",
      variant: { memoryOpsId: HASTY_OPS },
      preemptions: 0,
    },
    { chunk: COMMIT, server: SERVE, fork: TOUCH },
  ),
  covered(
    "chunk-vs-munmap",
    "The page that only the GPU has is unmapped.",
    unmapped,
    {
      name: "no-note",
      summary: "The invalidation leaves no note for the device.",
      variant: { opsId: FORGETFUL_OPS },
    },
    { chunk: COMMIT, server: ["devices/webgpu/private-pages.serve"] },
  ),
  covered(
    "lost-vs-load",
    "The GPU is lost while a page comes home.",
    lost,
    {
      name: "loses-nothing",
      summary: "Who waits for a page of the lost GPU is not told.",
      variant: { PrivatePages: LosesNothing },
      expects: "lost-wakeup",
    },
    {
      chunk: COMMIT,
      server: [...SERVE, "devices/webgpu-record/private-memory.loseDirty"],
      load: TOUCH,
    },
  ),
  covered(
    "served-by-dead-vs-load",
    "The thread that brings pages home dies.",
    orphaned,
    {
      name: "no-reader-of-deaths",
      summary: "Who waits for it does not ask whether it lives.",
      variant: { memoryOpsId: TRUSTING_OPS },
      expects: "lost-wakeup",
    },
    { chunk: COMMIT, server: ["devices/webgpu/private-pages.serve"], load: TOUCH },
  ),
];
