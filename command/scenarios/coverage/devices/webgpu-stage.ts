/**
 * @module What the scenarios of the WebGPU device stand on: a harness with some pages, devices
 * whose GPU is a model, and their Workers, played by tasks, that run chunks. The kernel adds the
 * first word of one page to that of another, and one: run twice, or on bytes of two moments, it
 * leaves another sum.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { Cell } from "../../../../src/checker/primitives/program.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { Bringer } from "../../../../src/devices/webgpu/bring.ts";
import { type ChunkOutcome, ChunkRunner } from "../../../../src/devices/webgpu/chunk.ts";
import type { ChunkParts } from "../../../../src/devices/webgpu/chunk-parts.ts";
import { FramePool } from "../../../../src/devices/webgpu/frame-pool.ts";
import { WEBGPU_DEVICE_OPS } from "../../../../src/devices/webgpu-record/mirror-ops.ts";
import { PageMap } from "../../../../src/devices/webgpu/page-map.ts";
import {
  PRIVATE_MEMORY_OPS,
  makePrivateMemory,
} from "../../../../src/devices/webgpu-record/private-memory.ts";
import { PrivatePages } from "../../../../src/devices/webgpu/private-pages.ts";
import {
  WebGpuRecord,
  initRecord,
  withDriverLock,
} from "../../../../src/devices/webgpu-record/record.ts";
import type { HmmMirror } from "../../../../src/hmm/mirror-record.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { KIND_DEVICE_PRIVATE, PAGE_BYTES, pteKind, ptePfn } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { Completion } from "../../../../src/sync/primitives/completion.ts";
import { deathsSoFar, liveAgent } from "../../../../src/sync/tasks/identity.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import { ModelGpu, type ModelProgram } from "./model-gpu.ts";
import { setWordOf, wordOf } from "./stage.ts";

export const READ_PAGE: number = HARNESS_PAGE;
export const WRITTEN_PAGE: number = HARNESS_PAGE + 1;
/** Of scenarios with six pages: it is not brought along with the two. */
export const LATE_PAGE: number = HARNESS_PAGE + 5;
/** What the page that is read holds at first, and what the CPU stores to it. */
export const BEFORE = 7;
export const AFTER = 8;
const DEFAULT_FRAMES = 6;
/** Where the second of two completions lies. */
const BEGUN = 16;
/** For ever. */
export const TIMEOUT_MS: number = 2 ** 30;

/** What a chunk runs. */
export const CHUNK = [
  "devices/webgpu/chunk.run",
  "devices/webgpu/bring.bring",
  "devices/webgpu-record/record.drainLog",
] as const;

/** Adds the first word of one page to that of another, and one. */
export const ADD: ModelProgram = {
  name: "add",
  workgroup: (memory) => {
    const written = memory.load(WRITTEN_PAGE * PAGE_BYTES);
    const sum = written + memory.load(READ_PAGE * PAGE_BYTES);
    memory.store(WRITTEN_PAGE * PAGE_BYTES, sum + 1);
  },
};

/** It forgets what it is told. */
export const FORGETFUL_OPS: number = registerMirrorOps("scenario WebGPU device without a log", {
  *invalidate() {
    return 0;
  },
});

/** How the device is made; a twin changes one thing. */
export interface Variant {
  readonly opsId: number;
  readonly Bringer: typeof Bringer;
  readonly Gpu: typeof ModelGpu;
  readonly staleMax: number;
  /** Frames of the pool, the two included that hold no page. */
  readonly frames: number;
  readonly devices: number;
  /** Whether the pages of a lost GPU are dropped. */
  readonly dropsLost: boolean;
  /** Frames of private memory, 0 for none; its code, its half in the Worker, and the pool's. */
  readonly privateFrames: number;
  readonly memoryOpsId: number;
  readonly PrivatePages: typeof PrivatePages;
  readonly Pool: typeof FramePool;
  /** Frames that can be backed up. Default: those of private memory. */
  readonly slots?: number;
}

const SHIPPED: Variant = {
  opsId: WEBGPU_DEVICE_OPS,
  Bringer,
  Gpu: ModelGpu,
  staleMax: 3,
  frames: DEFAULT_FRAMES,
  devices: 1,
  dropsLost: true,
  privateFrames: 0,
  memoryOpsId: PRIVATE_MEMORY_OPS,
  PrivatePages,
  Pool: FramePool,
};

/** What a device's Worker has for itself: made anew by each execution. */
export interface Own {
  readonly record: WebGpuRecord;
  readonly pool: FramePool;
  readonly map: PageMap;
  readonly privatePages: PrivatePages | undefined;
  gpu: ModelGpu;
  outcome: string;
  errno: number;
}

interface ModelDevice {
  readonly record: WebGpuRecord;
  readonly mirror: HmmMirror;
  own: Own | undefined;
}

export interface World {
  readonly devices: readonly ModelDevice[];
  readonly variant: Variant;
  /** GPUs that are to be lost, so far. */
  readonly losses: Cell;
  /** Once for each task that may need a page home, when it does not any more. */
  readonly served: Completion;
  /** Once for each task that begins when the Worker has run for a while (`late`). */
  readonly begun: Completion;
  /** What a CPU thread has loaded. */
  readonly seen: number[];
  child: number;
}

export type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function makeDevice(harness: HmmHarness, variant: Variant): ModelDevice {
  const { opsId, privateFrames, memoryOpsId } = variant;
  const record = harness.alloc(WebGpuRecord);
  initRecord(record);
  const memory = makePrivateMemory(harness.machine, record, privateFrames, memoryOpsId);
  assert(harness.run(memory), "there is room for its private memory");
  return { record, mirror: harness.register(record.mirror, opsId), own: undefined };
}

function makeWorld(harness: HmmHarness, variant: Variant): World {
  setWordOf(harness, READ_PAGE, 0, BEFORE);
  setWordOf(harness, WRITTEN_PAGE, 0, 0);
  const { machine } = harness;
  const devices = Array.from({ length: variant.devices }, () => makeDevice(harness, variant));
  const words = harness.run(machine.heap.allocWords(512));
  const losses = new Cell(machine.memory, words, "losses");
  const served = new Completion(machine.memory, words + 1, { name: "served" });
  const begun = new Completion(machine.memory, words + BEGUN, { name: "begun" });
  return { devices, variant, losses, served, begun, seen: [], child: 0 };
}

/** What the tasks of a device's Worker share: made by the one that comes first. */
function ownOf(world: World, index: number, { machine }: HmmHarness): Own {
  const { variant, losses } = world;
  const { slots = variant.privateFrames } = variant;
  const device = world.devices[index];
  assert(device !== undefined, "there are so many devices");
  if (device.own !== undefined) return device.own;
  const { record } = device;
  const map = new PageMap(2, 256);
  const pool = new variant.Pool(variant.frames, record, map);
  const first = new variant.Gpu(record, variant.frames, losses, 0);
  const gpu = (): ModelGpu => device.own?.gpu ?? first;
  const privatePages =
    variant.privateFrames === 0
      ? undefined
      : new variant.PrivatePages({ machine, record, pool, gpu, slots });
  device.own = { record, pool, map, privatePages, gpu: first, outcome: "not over", errno: 0 };
  return device.own;
}

/** What the Worker of a device makes for itself. */
export interface Opened {
  readonly own: Own;
  readonly runner: ChunkRunner;
  readonly parts: ChunkParts;
}

/** Pairs with `parts.bringer.close()`. */
export function* openRunner(world: World, index: number, harness: HmmHarness): Task<Opened> {
  const { machine } = harness;
  const own = ownOf(world, index, harness);
  const { record, pool, map, privatePages } = own;
  const { mirror } = world.devices[index] ?? { mirror: undefined };
  assert(mirror !== undefined, "there are so many devices");
  const base = { machine, mirror, record, pool, privatePages, gpu: (): ModelGpu => own.gpu };
  const bringer = yield* world.variant.Bringer.open({ ...base, timeoutMs: TIMEOUT_MS });
  assert(typeof bringer !== "number", "a range can be had");
  const parts = { ...base, map, bringer };
  return { own, runner: new ChunkRunner(parts), parts };
}

/** A chunk of all workgroups; on another GPU, if one is lost. */
function* runProgram(
  world: World,
  own: Own,
  runner: ChunkRunner,
  program: ModelProgram,
): Task<ChunkOutcome> {
  const { variant, losses } = world;
  const end = program.workgroups ?? 1;
  const groups = [end, 1, 1] as const;
  for (let lost = 1; ; lost++) {
    const outcome = yield* runner.run({
      pass: { program, first: 0, end, groups, args: [], window: 0, bound: undefined },
      fuel: 1,
      fuelMax: 1,
      isLikelyResident: false,
      staleMax: variant.staleMax,
      isStopped: () => false,
    });
    if (outcome.kind !== "lost") return outcome;
    if (own.privatePages !== undefined) yield* own.privatePages.loseAll();
    if (variant.dropsLost) yield* withDriverLock(own.record, () => own.pool.dropAll());
    own.map.forget();
    own.gpu = new variant.Gpu(own.record, variant.frames, losses, lost);
  }
}

/** The Worker of device `index`: runs the programs one after the other. */
export function chunks(programs: readonly ModelProgram[], index: number = 0): Body {
  return function* (world, harness) {
    const opened = yield* openRunner(world, index, harness);
    for (const program of programs) yield* runOne(world, opened, program);
    yield* closeRunner(world, opened);
  };
}

/** Pairs with `openRunner`, in a Worker beside whose tasks is one that needs pages home. */
export function* closeRunner(world: World, { own, parts }: Opened): Task<void> {
  yield* parts.bringer.close();
  if (own.privatePages === undefined) return;
  yield* world.served.wait();
  yield* own.privatePages.leave();
}

export function* runOne(world: World, { own, runner }: Opened, program: ModelProgram): Task<void> {
  const outcome = yield* runProgram(world, own, runner, program);
  own.outcome = outcome.kind;
  own.errno = outcome.kind === "fault" ? outcome.errno : 0;
}

/**
 * The Worker of a device with private memory: runs a program before another task touches the page,
 * and one when that task is over, or dead.
 */
export function chunkAndChunk(before: ModelProgram, after: ModelProgram): Body {
  return function* (world, harness) {
    const opened = yield* openRunner(world, 0, harness);
    const { record, privatePages } = opened.own;
    yield* runOne(world, opened, before);
    const deaths = deathsSoFar(record.memory);
    yield* world.served.complete();
    const isOver = (): boolean => world.seen.length > 0;
    yield* record.served.waitEvent(isOver, Infinity, undefined, undefined, deaths);
    yield* runOne(world, opened, after);
    yield* opened.parts.bringer.close();
    yield* privatePages?.leave() ?? DONE;
  };
}

/** Pairs with `chunkAndChunk`. */
export function between(touch: (harness: HmmHarness) => Task<number>): Body {
  return function* ({ devices, served, seen }, harness) {
    yield* served.wait();
    seen.push(yield* touch(harness));
    for (const { record } of devices) yield* record.served.wakeAll();
  };
}

/** The task of the Worker that brings pages home for others. */
export const server: Body = function* (world, harness) {
  const { record, privatePages } = ownOf(world, 0, harness);
  assert(privatePages !== undefined, "the device has private memory");
  record.worker = liveAgent(harness.machine.memory);
  yield* privatePages.serve();
};

/** Another task beside a device with private memory: it may need pages home. */
export function beside(body: Body): Body {
  return function* (world, harness) {
    yield* body(world, harness);
    yield* world.served.complete();
  };
}

/** Begins when the Worker says so. */
export function late(body: Body): Body {
  return function* (world, harness) {
    yield* world.begun.wait();
    yield* body(world, harness);
  };
}

/**
 * The Worker of a device with private memory: runs programs alone, and lets so many tasks begin
 * beside what it does then.
 */
export function warmed(
  programs: readonly ModelProgram[],
  others: number,
  work: (opened: Opened, world: World, harness: HmmHarness) => Task<unknown>,
): Body {
  return function* (world, harness) {
    const opened = yield* openRunner(world, 0, harness);
    for (const program of programs) yield* runOne(world, opened, program);
    for (let i = 0; i < others; i++) yield* world.begun.complete();
    yield* work(opened, world, harness);
    for (let i = 1; i < others; i++) yield* world.served.wait();
    yield* closeRunner(world, opened);
  };
}

/** What a page holds: in RAM, or on the GPU alone. */
export function contentOf(world: World, harness: HmmHarness, page: number, index: number): number {
  const pte = harness.entryOf(page);
  const own = world.devices[0]?.own;
  const frame =
    pteKind(pte) === KIND_DEVICE_PRIVATE ? own?.privatePages?.frameWith(ptePfn(pte)) : 0;
  if (own === undefined || frame === undefined || frame === 0) return wordOf(harness, page, index);
  return own.gpu.wordOf(frame, index);
}

export function outcomeOf({ devices }: World, index: number = 0): string {
  return devices[index]?.own?.outcome ?? "not over";
}

export function errnoOfChunk({ devices }: World): number {
  return devices[0]?.own?.errno ?? 0;
}

/** Whether the device has been told that the page has changed, and has not looked yet. */
function isNoted({ log, logged }: WebGpuRecord, page: number): boolean {
  for (let i = 0; i < logged; i++)
    if (page >= log.get(i * 2) >>> 0 && page < log.get(i * 2 + 1) >>> 0) return true;
  return false;
}

/** What the devices hold, and have heard nothing of, is what RAM has. Changes nothing. */
export function requireCoherent({ devices }: World, harness: HmmHarness): void {
  for (const { record, own } of devices) {
    if (own === undefined) continue;
    for (const page of [READ_PAGE, WRITTEN_PAGE]) {
      const frame = own.pool.frameOf(page);
      if (frame === 0 || isNoted(record, page) || own.pool.isKept(frame)) continue;
      const [held, word] = [own.gpu.wordOf(frame, 0), wordOf(harness, page, 0)];
      assert(held === word, `the device holds ${held} of page ${page}, and RAM has ${word}`);
    }
  }
}

/** `read`: what the chunk may have read. */
export function checkSum(world: World, harness: HmmHarness, read: readonly number[]): void {
  const sum = contentOf(world, harness, WRITTEN_PAGE, 0);
  const outcome = outcomeOf(world);
  const sums = outcome === "done" ? read.map((value) => value + 1) : [0];
  assert(sums.includes(sum), `the chunk is ${outcome}, and the sum ${sum}`);
  requireCoherent(world, harness);
}

export interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly tasks: Readonly<Record<string, Body>>;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly variant?: Partial<Variant>;
  readonly expects?: FindingKind;
  /** Default 1. */
  readonly preemptions?: number;
  /** Pages of the space. Default 2. */
  readonly pages?: number;
  /** More for the set-up. */
  readonly prepare?: (harness: HmmHarness) => void;
  /** The task that may die once, and stops nobody by that. */
  readonly killable?: string;
}

export function make(parts: Parts): AnyScenario {
  const { name, summary, tasks, check, variant, expects, preemptions = 1, pages = 2 } = parts;
  const { killable, prepare } = parts;
  const dying = killable === undefined ? {} : { killable: [killable], mustSurvive: true };
  const deaths = killable === undefined ? {} : { deaths: 1 };
  return harnessScenario<World>({
    name: `coverage/devices/${name}`,
    summary,
    exploration: { engine: "bounded", preemptions, timeouts: 0, ...deaths },
    ...dying,
    mayRemain:
      killable === undefined ? ["table", "vma", "mm", "frame", "deviceSpaces"] : "anything",
    harness: { pages, arenaWords: 8192 },
    setup(harness) {
      prepare?.(harness);
      return makeWorld(harness, { ...SHIPPED, ...variant });
    },
    reopen(world) {
      world.seen.length = 0;
      world.child = 0;
      for (const device of world.devices) device.own = undefined;
    },
    tasks,
    check,
    ...(expects === undefined ? {} : { expects }),
  });
}
