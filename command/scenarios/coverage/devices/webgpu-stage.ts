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
import { FramePool } from "../../../../src/devices/webgpu/frame-pool.ts";
import { WEBGPU_DEVICE_OPS } from "../../../../src/devices/webgpu/mirror-ops.ts";
import { PageMap } from "../../../../src/devices/webgpu/page-map.ts";
import { WebGpuRecord, initRecord, withDriverLock } from "../../../../src/devices/webgpu/record.ts";
import type { HmmMirror } from "../../../../src/hmm/mirror-record.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { ModelGpu, type ModelProgram } from "./model-gpu.ts";
import { setWordOf, wordOf } from "./stage.ts";

export const READ_PAGE: number = HARNESS_PAGE;
export const WRITTEN_PAGE: number = HARNESS_PAGE + 1;
/** What the page that is read holds at first, and what the CPU stores to it. */
export const BEFORE = 7;
export const AFTER = 8;
const DEFAULT_FRAMES = 6;

/** What a chunk runs. */
export const CHUNK = [
  "devices/webgpu/chunk.run",
  "devices/webgpu/bring.bring",
  "devices/webgpu/record.drainLog",
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
}

const SHIPPED: Variant = {
  opsId: WEBGPU_DEVICE_OPS,
  Bringer,
  Gpu: ModelGpu,
  staleMax: 3,
  frames: DEFAULT_FRAMES,
  devices: 1,
  dropsLost: true,
};

/** What a device's Worker has for itself: made anew by each execution. */
interface Own {
  readonly record: WebGpuRecord;
  readonly pool: FramePool;
  readonly map: PageMap;
  readonly runner: ChunkRunner;
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
  /** What a CPU thread has loaded. */
  readonly seen: number[];
  child: number;
}

export type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function makeDevice(harness: HmmHarness, opsId: number): ModelDevice {
  const record = harness.alloc(WebGpuRecord);
  initRecord(record);
  return { record, mirror: harness.register(record.mirror, opsId), own: undefined };
}

function makeWorld(harness: HmmHarness, variant: Variant): World {
  setWordOf(harness, READ_PAGE, 0, BEFORE);
  setWordOf(harness, WRITTEN_PAGE, 0, 0);
  const { machine } = harness;
  const devices = Array.from({ length: variant.devices }, () => makeDevice(harness, variant.opsId));
  const losses = new Cell(machine.memory, harness.run(machine.heap.allocWords(512)), "losses");
  return { devices, variant, losses, seen: [], child: 0 };
}

function* openOwn(
  world: World,
  device: ModelDevice,
  { machine }: HmmHarness,
): Task<[Own, Bringer]> {
  const { variant, losses } = world;
  const { record, mirror } = device;
  const map = new PageMap(2, 256);
  const pool = new FramePool(variant.frames, record, map);
  let own: Own | undefined = undefined;
  const first = new variant.Gpu(record, variant.frames, losses, 0);
  const gpu = (): ModelGpu => own?.gpu ?? first;
  const parts = { machine, mirror, record, pool, gpu };
  const bringer = yield* variant.Bringer.open({ ...parts, timeoutMs: 2 ** 30 });
  assert(typeof bringer !== "number", "a range can be had");
  const runner = new ChunkRunner({ ...parts, map, bringer });
  const made: Own = { record, pool, map, runner, gpu: first, outcome: "not over", errno: 0 };
  own = made;
  return [made, bringer];
}

/** A chunk of one workgroup; on another GPU, if one is lost. */
function* runProgram(world: World, own: Own, program: ModelProgram): Task<ChunkOutcome> {
  const { variant, losses } = world;
  const groups = [1, 1, 1] as const;
  for (let lost = 1; ; lost++) {
    const outcome = yield* own.runner.run({
      pass: { program, first: 0, end: 1, groups, args: [], window: 0, bound: undefined },
      fuel: 1,
      fuelMax: 1,
      isLikelyResident: false,
      staleMax: variant.staleMax,
      isStopped: () => false,
    });
    if (outcome.kind !== "lost") return outcome;
    if (variant.dropsLost) yield* withDriverLock(own.record, () => own.pool.dropAll());
    own.map.forget();
    own.gpu = new variant.Gpu(own.record, variant.frames, losses, lost);
  }
}

/** The Worker of device `index`: runs the programs one after the other. */
export function chunks(programs: readonly ModelProgram[], index: number = 0): Body {
  return function* (world, harness) {
    const device = world.devices[index];
    assert(device !== undefined, "there are so many devices");
    const [own, bringer] = yield* openOwn(world, device, harness);
    for (const program of programs) {
      const outcome = yield* runProgram(world, own, program);
      own.outcome = outcome.kind;
      own.errno = outcome.kind === "fault" ? outcome.errno : 0;
    }
    device.own = own;
    yield* bringer.close();
  };
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
    if (page >= log.get(i * 2) && page < log.get(i * 2 + 1)) return true;
  return false;
}

/** What the devices hold, and have heard nothing of, is what RAM has. Changes nothing. */
export function requireCoherent({ devices }: World, harness: HmmHarness): void {
  for (const { record, own } of devices) {
    if (own === undefined) continue;
    for (const page of [READ_PAGE, WRITTEN_PAGE]) {
      const frame = own.pool.frameOf(page);
      if (frame === 0 || isNoted(record, page)) continue;
      const [held, word] = [own.gpu.wordOf(frame, 0), wordOf(harness, page, 0)];
      assert(held === word, `the device holds ${held} of page ${page}, and RAM has ${word}`);
    }
  }
}

/** `read`: what the chunk may have read. */
export function checkSum(world: World, harness: HmmHarness, read: readonly number[]): void {
  const sum = wordOf(harness, WRITTEN_PAGE, 0);
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
}

export function make(parts: Parts): AnyScenario {
  const { name, summary, tasks, check, variant, expects, preemptions = 1, pages = 2 } = parts;
  return harnessScenario<World>({
    name: `coverage/devices/${name}`,
    summary,
    exploration: { engine: "bounded", preemptions, timeouts: 0 },
    mayRemain: ["table", "vma", "mm", "frame"],
    harness: { pages, arenaWords: 8192 },
    setup: (harness) => makeWorld(harness, { ...SHIPPED, ...variant }),
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
