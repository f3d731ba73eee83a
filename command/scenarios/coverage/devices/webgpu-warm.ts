/**
 * @module Pages that only a GPU has, on a model of one, when others begin to need them: the Worker
 * has run a chunk before, so that what happens beside each other is short. A pass that is undone,
 * two loads at once, the loss of the GPU, pages that are freed, and the device's end. Each twin
 * leaves out what makes it right.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { WANT_WRITE } from "../../../../src/devices/webgpu/bring.ts";
import type { Lost } from "../../../../src/devices/webgpu/gpu.ts";
import { PrivatePages, type PrivateParts } from "../../../../src/devices/webgpu/private-pages.ts";
import {
  CURRENT,
  DIRTY,
  LOST,
  chunksOf,
  loseDirty,
  setState,
  stateOf,
} from "../../../../src/devices/webgpu-record/private-memory.ts";
import { type WebGpuRecord, drainLog } from "../../../../src/devices/webgpu-record/record.ts";
import { DeviceMemory, isDeviceFrameUsed } from "../../../../src/memory/frames/device-frames.ts";
import { registerDeviceMemoryOps } from "../../../../src/mm/fault/device-private.ts";
import { migrateFaultToRam } from "../../../../src/mm/migrate/migrate-vma.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { KIND_DEVICE_PRIVATE, PAGE_BYTES, pteKind } from "../../../../src/mm/pte.ts";
import { SegmentationFault, assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import { liveAgent } from "../../../../src/sync/tasks/identity.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ModelGpu, type ModelProgram, StrictGpu } from "./model-gpu.ts";
import { HASTY_OPS } from "./webgpu-private.ts";
import {
  ADD,
  BEFORE,
  type Body,
  CHUNK,
  type Opened,
  type Parts,
  READ_PAGE,
  type Variant,
  WRITTEN_PAGE,
  type World,
  beside,
  contentOf,
  late,
  make,
  outcomeOf,
  requireCoherent,
  runOne,
  server,
  warmed,
} from "./webgpu-stage.ts";

const WRITTEN: number = WRITTEN_PAGE * PAGE_BYTES;
const THIRD_PAGE: number = HARNESS_PAGE + 2;
const FOURTH_PAGE: number = HARNESS_PAGE + 3;
const THIRD: number = THIRD_PAGE * PAGE_BYTES;
const SUM: number = BEFORE + 1;
/** It does not come home together with the others (HOME_PAGES of private-memory.ts). */
const FAR_PAGE: number = HARNESS_PAGE + 16;
const FAR: number = FAR_PAGE * PAGE_BYTES;
/** What a load answers that the page's loss has ended. */
const IS_LOST = -1;

type Case = Omit<Parts, "name" | "summary">;

const STORE_TWO: ModelProgram = {
  name: "store two",
  workgroup(memory) {
    memory.store(WRITTEN, SUM);
    memory.store(THIRD, SUM);
  },
};

const STORE_FAR: ModelProgram = {
  name: "store far apart",
  workgroup(memory) {
    memory.store(WRITTEN, SUM);
    memory.store(FAR, SUM);
  },
};

const mapFar = (harness: HmmHarness): void => harness.map(FAR_PAGE, 1);

/** Stores to a page, and then needs one that is not there. */
const storeAndMiss: ModelProgram = {
  name: "store and miss",
  workgroup(memory) {
    memory.store(WRITTEN, memory.load(WRITTEN) + 1);
    void memory.load(THIRD);
  },
};

const loadRead: ModelProgram = {
  name: "load",
  workgroup: (memory) => void memory.load(READ_PAGE * PAGE_BYTES),
};

/** A GPU that is interrupted as it reads pages: between the bytes and who waits. */
class InterruptedGpu extends ModelGpu {
  isArmed = false;
  isReading = false;
  isResumed = false;

  override *readFrames(frames: readonly number[]): Task<Uint8Array<ArrayBuffer> | Lost> {
    const bytes = yield* super.readFrames(frames);
    if (!this.isArmed) return bytes;
    this.isReading = true;
    yield* this.record.served.wakeAll();
    yield* this.record.served.waitEvent(() => this.isResumed, Infinity);
    return bytes;
  }

  /** Pairs with `resume`: when it has been interrupted. */
  awaitReading(): Task<unknown> {
    this.isArmed = true;
    return this.record.served.waitEvent(() => this.isReading, Infinity);
  }

  resume(): Task<unknown> {
    this.isArmed = false;
    this.isResumed = true;
    return this.record.served.wakeAll();
  }
}

const loadFrom = (address: number): Body =>
  function* ({ seen }, harness) {
    try {
      seen.push(yield* new HarnessCpu(harness).load(address));
    } catch (error) {
      if (!(error instanceof SegmentationFault && error.signal === "SIGBUS")) throw error;
      seen.push(IS_LOST);
    }
  };

/** Another task that begins when the Worker has run a chunk, and may need pages home. */
const other = (body: Body): Body => late(beside(body));

function requireDone(world: World, harness: HmmHarness, sum: number): void {
  assert(outcomeOf(world) === "done", `the chunk is ${outcomeOf(world)}`);
  const word = contentOf(world, harness, WRITTEN_PAGE, 0);
  assert(word === sum, `the sum is ${word}, not ${sum}`);
  requireCoherent(world, harness);
}

function isPrivate(harness: HmmHarness, page: number): boolean {
  return pteKind(harness.entryOf(page)) === KIND_DEVICE_PRIVATE;
}

function requireSeen({ seen }: World, allowed: readonly number[]): void {
  for (const value of seen) assert(allowed.includes(value), `a thread has seen ${value}`);
}

const STRICT: Partial<Variant> = { privateFrames: 2, Gpu: StrictGpu };

/** Runs one more program. */
const then =
  (program: ModelProgram) =>
  (opened: Opened, world: World): Task<void> =>
    runOne(world, opened, program);

const undone: Case = {
  tasks: {
    chunk: warmed([ADD], 1, then(storeAndMiss)),
    server,
    load: other(loadFrom(WRITTEN)),
  },
  variant: STRICT,
  pages: 3,
  check(world, harness) {
    requireDone(world, harness, SUM + 1);
    requireSeen(world, [SUM, SUM + 1]);
  },
};

const twoLoads: Case = {
  tasks: {
    chunk: warmed([STORE_FAR], 2, then(loadRead)),
    server,
    first: other(loadFrom(WRITTEN)),
    second: other(loadFrom(FAR)),
  },
  variant: STRICT,
  prepare: mapFar,
  preemptions: 0,
  check(world, harness) {
    requireDone(world, harness, SUM);
    requireSeen(world, [SUM]);
  },
};

const lost: Case = {
  tasks: {
    chunk: warmed([STORE_FAR], 2, function* (opened, world) {
      yield* world.losses.store(1);
      yield* runOne(world, opened, loadRead);
    }),
    server,
    first: other(loadFrom(WRITTEN)),
    second: other(loadFrom(FAR)),
  },
  variant: STRICT,
  prepare: mapFar,
  preemptions: 0,
  check(world) {
    assert(outcomeOf(world) === "done", `the chunk is ${outcomeOf(world)}`);
    requireSeen(world, [SUM, IS_LOST]);
  },
};

/** Two threads wait for the Worker, which loses all that is DIRTY. */
function lostAtOnce(lose: (record: WebGpuRecord) => Task<void>): Body {
  return warmed([STORE_FAR], 2, function* ({ own: { record } }) {
    record.worker = liveAgent(record.memory);
    for (let i = 0; i < 2; i++) yield* record.requested.wait();
    yield* lose(record);
  });
}

const waited: Case = {
  tasks: {
    chunk: lostAtOnce(loseDirty),
    first: other(loadFrom(WRITTEN)),
    second: other(loadFrom(FAR)),
  },
  variant: { privateFrames: 2 },
  prepare: mapFar,
  preemptions: 0,
  check: (world) => requireSeen(world, [IS_LOST]),
};

/** It wakes nobody. */
function* losesQuietly(record: WebGpuRecord): Task<void> {
  for (const [device, pfn] of framesOf(record)) yield* setState(device, pfn, LOST);
}

/** A page is freed while the GPU is lost: its frame is not lost with it, for others get it. */
const freed: Case = {
  tasks: {
    chunk: warmed([STORE_TWO], 1, ({ own }) => own.privatePages?.loseAll() ?? DONE),
    discard: other((_world, harness) => harness.discard(THIRD_PAGE, 1)),
  },
  variant: { privateFrames: 2 },
  pages: 3,
  preemptions: 2,
  check(world) {
    for (const { record } of world.devices)
      for (const [device, pfn] of framesOf(record))
        assert(isDeviceFrameUsed(device, pfn) || stateOf(device, pfn) === CURRENT, "it is free");
  },
};

function framesOf(record: WebGpuRecord): (readonly [device: DeviceMemory, pfn: number])[] {
  return chunksOf(record).flatMap(({ memory, device: at, pages }) => {
    const device = DeviceMemory.at(memory, at);
    return Array.from({ length: pages }, (_, i) => [device, device.basePfn + i] as const);
  });
}

/**
 * A page is freed while it is read back with another one, with which it does not come home, and its
 * frame has another page then.
 */
const reused: Case = {
  tasks: {
    chunk: warmed([STORE_FAR], 1, function* ({ own, parts }, _world, harness) {
      const { gpu } = own;
      assert(gpu instanceof InterruptedGpu, "the GPU is that of this scenario");
      yield* gpu.awaitReading();
      yield* harness.discard(FAR_PAGE, 1);
      yield* new HarnessCpu(harness).store(FOURTH_PAGE * PAGE_BYTES, BEFORE);
      const { failures } = yield* parts.bringer.bring(new Map([[FOURTH_PAGE, WANT_WRITE]]));
      const isThere = failures.length === 0 && isPrivate(harness, FOURTH_PAGE);
      assert(isThere, "the page can be had in the frame of the other");
      yield* gpu.resume();
    }),
    server,
    load: other(loadFrom(WRITTEN)),
  },
  variant: { privateFrames: 2, Gpu: InterruptedGpu },
  pages: 4,
  prepare: mapFar,
  preemptions: 0,
  check(world, harness) {
    requireDone(world, harness, SUM);
    requireSeen(world, [SUM]);
    const word = contentOf(world, harness, FOURTH_PAGE, 0);
    assert(word === BEFORE, `the page in the frame of another has ${word}`);
  },
};

/** As a device ends: what only the GPU has is read back, also while another thread needs it. */
const flushed: Case = {
  tasks: {
    chunk: warmed([STORE_TWO], 1, ({ own }) => own.privatePages?.flushAll() ?? DONE),
    server,
    load: other(loadFrom(WRITTEN)),
  },
  variant: STRICT,
  pages: 3,
  check(world, harness) {
    requireDone(world, harness, SUM);
    requireSeen(world, [SUM]);
    const gpu = world.devices[0]?.own?.privatePages;
    assert(gpu?.counts.readBack === 2, "each page is read back once");
  },
};

/** As before a pass. */
function* reclaim({ own: { record, pool, privatePages } }: Opened): Task<void> {
  assert(privatePages !== undefined, "the device has private memory");
  yield* record.driverLock.lock();
  drainLog(record, pool.strike);
  yield* callInSteps(privatePages, "reclaim");
  yield* record.driverLock.unlock();
}

/** No frame of the pool is kept for a page that was freed. */
function requireNoneKept({ devices }: World): void {
  for (const { record, own } of devices)
    for (const [device, pfn] of framesOf(record)) {
      const isKept = own?.privatePages?.frameWith(pfn) !== 0;
      assert(isDeviceFrameUsed(device, pfn) || !isKept, "a frame is kept for no page");
    }
}

/** The Worker looks for what is freed while a page is, and afterwards. */
const reclaimed: Case = {
  tasks: {
    chunk: warmed([ADD], 1, function* (opened, { served }) {
      for (let i = 0; i < 2; i++) {
        yield* served.wait();
        yield* reclaim(opened);
      }
      yield* served.complete();
    }),
    discard: other(function* ({ served }, harness) {
      yield* served.complete();
      yield* harness.discard(WRITTEN_PAGE, 1);
    }),
  },
  variant: { privateFrames: 2 },
  check: requireNoneKept,
};

/** What is unmapped is no more kept for, and not read back. */
const unmapped: Case = {
  tasks: {
    chunk: warmed([STORE_TWO], 1, function* (opened, world) {
      yield* runOne(world, opened, loadRead);
      yield* world.served.wait();
      yield* world.served.complete();
      yield* reclaim(opened);
    }),
    server,
    munmap: other((_world, { machine, mm }) => doMunmap(machine, mm, WRITTEN, 2 * PAGE_BYTES)),
  },
  variant: { privateFrames: 2 },
  pages: 3,
  check(world) {
    const isRead = world.devices.some(({ own }) => own?.privatePages?.counts.readBack !== 0);
    assert(!isRead, "a page is read back for nobody");
    requireNoneKept(world);
  },
};

/** What was read back is wrong if a pass runs: nobody waits for its end. */
class DoesNotWait extends PrivatePages {
  protected override *lockToServe(): Task<void> {}
  protected override *unlockToServe(): Task<void> {}
}

/** It looks, and then stores. */
class LosesLate extends PrivatePages {
  readonly #record: WebGpuRecord;

  constructor(parts: PrivateParts) {
    super(parts);
    this.#record = parts.record;
  }

  override *lose(): Task<void> {
    for (const [device, pfn] of framesOf(this.#record))
      if (stateOf(device, pfn) === DIRTY) yield* setState(device, pfn, LOST);
    yield* super.lose();
  }
}

class LosesNothing extends PrivatePages {
  override *lose(): Task<void> {}
}

/** Of what is freed nobody tells the Worker. */
const UNCOUNTED_OPS: number = registerDeviceMemoryOps("scenario uncounted private memory", {
  migrateToRam: migrateFaultToRam,
  pageFree: (_memory, device, pfn) => setState(device, pfn, CURRENT),
});

type Twin = Omit<Parts, "tasks" | "check" | "variant"> & {
  readonly variant?: Partial<Variant>;
  readonly tasks?: Parts["tasks"];
};

function covered(
  name: string,
  summary: string,
  parts: Case,
  twin: Twin,
  runs: Covered["runs"],
): Covered {
  const variant = { ...parts.variant, ...twin.variant };
  const twinName = `webgpu-warm-${name}/${twin.name}`;
  return {
    layer: "devices",
    scenario: make({ name: `webgpu-warm-${name}`, summary, ...parts }),
    twins: [make({ expects: "assertion", ...parts, ...twin, name: twinName, variant })],
    runs,
  };
}

const SERVE = ["devices/webgpu/private-pages.serve", "devices/webgpu/private-pages.flush"] as const;
const COME_HOME = ["devices/webgpu-record/private-memory.haveBytes"] as const;

export const webGpuWarm: readonly Covered[] = [
  covered(
    "undone-vs-load",
    "A pass misses after it has stored to a page that only the GPU has; the CPU loads it.",
    undone,
    {
      name: "does-not-wait",
      summary: "The page is read back while the pass runs.",
      variant: { PrivatePages: DoesNotWait, Gpu: ModelGpu },
    },
    { chunk: CHUNK, server: SERVE, load: COME_HOME },
  ),
  covered(
    "two-loads",
    "Two threads load pages that only the GPU has, and a chunk runs.",
    twoLoads,
    {
      name: "hasty",
      summary: "The pages come home without what only the GPU has.",
      variant: { memoryOpsId: HASTY_OPS },
    },
    { chunk: CHUNK, server: SERVE, first: COME_HOME, second: COME_HOME },
  ),
  covered(
    "lost-vs-two-loads",
    "The GPU is lost while two threads load pages that only it has.",
    lost,
    {
      name: "loses-nothing",
      summary: "Who waits for a page of the lost GPU is not told.",
      variant: { PrivatePages: LosesNothing },
    },
    { chunk: CHUNK, server: SERVE.slice(0, 1), first: COME_HOME, second: COME_HOME },
  ),
  covered(
    "lost-vs-two-waiting",
    "Two threads wait for pages that only the GPU has, and all of them are lost at once.",
    waited,
    {
      name: "loses-quietly",
      summary: "Nobody is told.",
      tasks: { ...waited.tasks, chunk: lostAtOnce(losesQuietly) },
      expects: "lost-wakeup",
    },
    {
      chunk: ["devices/webgpu-record/private-memory.loseDirty"],
      first: COME_HOME,
      second: COME_HOME,
    },
  ),
  covered(
    "lost-vs-discard",
    "The GPU is lost while a page that only it has is discarded.",
    freed,
    {
      name: "loses-late",
      summary: "A frame is looked at, freed, and lost.",
      variant: { PrivatePages: LosesLate },
    },
    {
      chunk: ["devices/webgpu/private-pages.loseAll"],
      discard: ["devices/webgpu-record/private-memory.pageFree"],
    },
  ),
  covered(
    "reused-vs-load",
    "A page is freed while it is read back, and its frame gets another page.",
    reused,
    {
      name: "hasty",
      summary: "The page comes home without what only the GPU has: nobody asks for it.",
      variant: { memoryOpsId: HASTY_OPS },
      expects: "lost-wakeup",
    },
    { chunk: CHUNK, server: SERVE, load: COME_HOME },
  ),
  covered(
    "flush-vs-load",
    "The device reads back what only the GPU has, as at its end, and a thread loads one of it.",
    flushed,
    {
      name: "does-not-wait",
      summary: "Two tasks read back at the same time.",
      variant: { PrivatePages: DoesNotWait },
      expects: "lock-misuse",
    },
    { chunk: ["devices/webgpu/private-pages.flushAll"], server: SERVE, load: COME_HOME },
  ),
  covered(
    "reclaim-vs-discard",
    "The device looks for pages that were freed while one is.",
    reclaimed,
    {
      name: "uncounted",
      summary: "What is freed is not counted, and the device does not look for it.",
      variant: { memoryOpsId: UNCOUNTED_OPS },
    },
    {
      chunk: ["devices/webgpu/private-pages.reclaim"],
      discard: ["devices/webgpu-record/private-memory.pageFree"],
    },
  ),
  covered(
    "chunk-vs-munmap",
    "Pages that only the GPU has are unmapped while another chunk runs.",
    unmapped,
    {
      name: "uncounted",
      summary: "What is freed is not counted, and the device does not look for it.",
      variant: { memoryOpsId: UNCOUNTED_OPS },
    },
    { chunk: CHUNK, munmap: ["devices/webgpu-record/private-memory.pageFree"] },
  ),
];
