/**
 * @module A chunk of the WebGPU device as a transaction, on a model GPU, beside CPU threads that
 * store to its pages or discard them (devices/webgpu/chunk.ts). Each twin leaves out one thing that
 * makes it right: the note of an invalidation, or the recheck before a page is copied.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { Bringer } from "../../../../src/devices/webgpu/bring.ts";
import { ChunkRunner } from "../../../../src/devices/webgpu/chunk.ts";
import { FramePool } from "../../../../src/devices/webgpu/frame-pool.ts";
import { WEBGPU_DEVICE_OPS } from "../../../../src/devices/webgpu/mirror-ops.ts";
import { PageMap } from "../../../../src/devices/webgpu/page-map.ts";
import { WebGpuRecord, initRecord } from "../../../../src/devices/webgpu/record.ts";
import { HmmMirror } from "../../../../src/hmm/mirror-record.ts";
import { hmmMirrorRegister } from "../../../../src/hmm/mirror/mirror.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ModelGpu, type ModelProgram } from "./model-gpu.ts";
import { setWordOf, wordOf } from "./stage.ts";

const READ_PAGE: number = HARNESS_PAGE;
const WRITTEN_PAGE: number = HARNESS_PAGE + 1;
const FRAMES = 6;
const BEFORE = 7;
const AFTER = 8;
/** What the CPU stores beside the kernel's word, in the page that the kernel writes. */
const OWN = 5;

/** Adds the first word of one page to that of another. */
const ADD: ModelProgram = {
  name: "add",
  workgroup: (memory) => {
    const written = memory.load(WRITTEN_PAGE * PAGE_BYTES);
    const sum = written + memory.load(READ_PAGE * PAGE_BYTES);
    memory.store(WRITTEN_PAGE * PAGE_BYTES, sum);
  },
};

/** It forgets what it is told. */
const FORGETFUL_OPS: number = registerMirrorOps("scenario WebGPU device without a log", {
  *invalidate() {
    return 0;
  },
});

/** It copies whatever it has read. */
class DoesNotRecheck extends Bringer {
  protected override *isStillValid(): Task<boolean> {
    return true;
  }
}

interface Variant {
  readonly opsId: number;
  readonly Class: typeof Bringer;
  readonly staleMax: number;
}

const SHIPPED: Variant = { opsId: WEBGPU_DEVICE_OPS, Class: Bringer, staleMax: 3 };

/** What the device's Worker has for itself: made anew by each execution. */
interface Own {
  readonly pool: FramePool;
  readonly map: PageMap;
  readonly gpu: ModelGpu;
  outcome: string;
}

interface World {
  readonly record: WebGpuRecord;
  readonly mirror: HmmMirror;
  readonly variant: Variant;
  own: Own | undefined;
}

function makeWorld(harness: HmmHarness, variant: Variant): World {
  const { machine, mm } = harness;
  setWordOf(harness, READ_PAGE, 0, BEFORE);
  setWordOf(harness, WRITTEN_PAGE, 0, 0);
  const record = WebGpuRecord.at(machine.memory, harness.run(machine.heap.alloc(WebGpuRecord)));
  initRecord(record);
  const mirror = new HmmMirror(machine, record.mirror.at);
  mirror.init(variant.opsId);
  const registering = function* (): Task<number> {
    yield* mm.mmapLock.downWrite();
    const errno = yield* hmmMirrorRegister(mirror, mm);
    yield* mm.mmapLock.upWrite();
    return errno;
  };
  assert(harness.run(registering()) === 0, "the device's mirror can be registered");
  return { record, mirror, variant, own: undefined };
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

/** The device's Worker: one chunk of one workgroup. */
const chunk: Body = function* (world, { machine }) {
  const { record, mirror, variant } = world;
  const map = new PageMap(2, 256);
  const pool = new FramePool(FRAMES, record, map);
  const gpu = new ModelGpu(record, FRAMES);
  const bringer = yield* variant.Class.open({
    machine,
    mirror,
    record,
    pool,
    gpu: () => gpu,
    timeoutMs: 2 ** 30,
  });
  assert(typeof bringer !== "number", "a range can be had");
  const runner = new ChunkRunner({ machine, record, pool, map, gpu: () => gpu, bringer });
  const groups = [1, 1, 1] as const;
  const outcome = yield* runner.run({
    pass: { program: ADD, first: 0, end: 1, groups, args: [], window: 0, bound: undefined },
    fuel: 1,
    fuelMax: 1,
    isLikelyResident: false,
    staleMax: variant.staleMax,
    isStopped: () => false,
  });
  world.own = { pool, map, gpu, outcome: outcome.kind };
  if (outcome.kind === "fault") assert(outcome.errno === EBUSY, `it faulted: ${outcome.errno}`);
  yield* bringer.close();
};

const storeTo =
  (page: number, index: number, value: number): Body =>
  (_world, harness) =>
    new HarnessCpu(harness).store(page * PAGE_BYTES + index * 4, value);

const discard: Body = (_world, harness) => harness.discard(READ_PAGE, 1);

/** Whether the device has been told that the page has changed, and has not looked yet. */
function isNoted({ log, logged }: WebGpuRecord, page: number): boolean {
  for (let i = 0; i < logged; i++)
    if (page >= log.get(i * 2) && page < log.get(i * 2 + 1)) return true;
  return false;
}

/** What the device holds, and has heard nothing of, is what RAM has. Changes nothing. */
function requireCoherent({ record, own }: World, harness: HmmHarness): void {
  if (own === undefined) return;
  const { pool, gpu } = own;
  for (const page of [READ_PAGE, WRITTEN_PAGE]) {
    const frame = pool.frameOf(page);
    if (frame === 0 || isNoted(record, page)) continue;
    const [held, word] = [gpu.wordOf(frame, 0), wordOf(harness, page, 0)];
    assert(held === word, `the device holds ${held} of page ${page}, and RAM has ${word}`);
  }
}

function checkSum(world: World, harness: HmmHarness, read: readonly number[]): void {
  const sum = wordOf(harness, WRITTEN_PAGE, 0);
  const outcome = world.own?.outcome ?? "not over";
  const sums = outcome === "done" ? read : [0];
  assert(sums.includes(sum), `the chunk is ${outcome}, and the sum ${sum}`);
  requireCoherent(world, harness);
}

const CHUNK = [
  "devices/webgpu/chunk.run",
  "devices/webgpu/bring.bring",
  "devices/webgpu/record.drainLog",
] as const;

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly tasks: Readonly<Record<string, Body>>;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly variant?: Partial<Variant>;
  readonly expects?: FindingKind;
  /** Default 1. */
  readonly preemptions?: number;
}

function make({
  name,
  summary,
  tasks,
  check,
  variant,
  expects,
  preemptions = 1,
}: Parts): AnyScenario {
  return harnessScenario<World>({
    name: `coverage/devices/${name}`,
    summary,
    exploration: { engine: "bounded", preemptions, timeouts: 0 },
    mayRemain: ["table"],
    harness: { pages: 2 },
    setup: (harness) => makeWorld(harness, { ...SHIPPED, ...variant }),
    tasks: { chunk, ...tasks },
    check,
    ...(expects === undefined ? {} : { expects }),
  });
}

const storeBeside: Omit<Parts, "name" | "summary"> = {
  tasks: { store: storeTo(WRITTEN_PAGE, 1, OWN) },
  check: (world, harness) => {
    checkSum(world, harness, [BEFORE]);
    const own = wordOf(harness, WRITTEN_PAGE, 1);
    assert(own === OWN, `the CPU's word is ${own}: its store was lost`);
  },
};
const storeRead: Omit<Parts, "name" | "summary"> = {
  tasks: { store: storeTo(READ_PAGE, 0, AFTER) },
  check: (world, harness) => checkSum(world, harness, [BEFORE, AFTER]),
  preemptions: 2,
};
const discardRead: Omit<Parts, "name" | "summary"> = {
  tasks: { discard },
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
    runs: { chunk: CHUNK, store: ["devices/webgpu/record.logRange"] },
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
    runs: { chunk: CHUNK, store: ["devices/webgpu/record.logRange"] },
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
        variant: { Class: DoesNotRecheck },
        expects: "assertion",
      }),
    ],
    runs: { chunk: CHUNK, store: ["devices/webgpu/record.logRange"] },
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
    runs: { chunk: CHUNK, discard: ["devices/webgpu/record.logRange"] },
  },
];
