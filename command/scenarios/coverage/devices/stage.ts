/**
 * @module What the scenarios of the software device stand on: a harness with a device whose threads
 * are played by tasks, and what must be true of it in the end.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import type { DeviceRecord } from "../../../../src/devices/service/device-record.ts";
import { registerDevice } from "../../../../src/devices/service/device-parts.ts";
import { createDevice, placeOf } from "../../../../src/devices/software/device-state.ts";
import {
  ENTRY_EXCLUSIVE,
  ENTRY_LOCAL,
  ENTRY_WRITE,
  entryFrameNumber,
} from "../../../../src/devices/service/device-table.ts";
import { FRAME_FREE, FRAME_LOADING, FRAME_MAPPED } from "../../../../src/devices/service/frames.ts";
import { DEVICE_PRIVATE } from "../../../../src/memory/frames/device-frames.ts";
import { SOFTWARE_DEVICE_OPS } from "../../../../src/devices/software/mirror-ops.ts";
import type { SoftwareRecord } from "../../../../src/devices/software/software-record.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  PAGE_BYTES,
  PTE_PRESENT,
  PTE_WRITE,
  endExclusive,
  pteKind,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

export interface DeviceWorld {
  readonly software: SoftwareRecord;
  /** What the service keeps of it. */
  readonly record: DeviceRecord;
}

export type Body = (world: DeviceWorld, harness: HmmHarness) => Task<unknown>;

/** No clock decides anything. */
const FOR_EVER_MS = 2 ** 30;

function* registered({ machine, mm }: HmmHarness, { at, device }: SoftwareRecord): Task<number> {
  yield* mm.mmapLock.downWrite();
  const place = placeOf(machine, at);
  const errno = yield* registerDevice(machine, device, mm, SOFTWARE_DEVICE_OPS, place);
  yield* mm.mmapLock.upWrite();
  return errno;
}

export function makeDevice(harness: HmmHarness, frames: number, threads: number = 2): DeviceWorld {
  // One without frames for copies has a page of its own.
  const own = frames === 0 ? ({ ownType: DEVICE_PRIVATE } as const) : {};
  const memoryBytes = Math.max(frames, 1) * PAGE_BYTES;
  const options = { memoryBytes, threads, faultTimeoutMs: FOR_EVER_MS, ...own };
  const software = harness.run(createDevice(harness.machine, options));
  if (typeof software === "number") throw new Error(`no device: ${software}`);
  const record = software.device;
  const errno = harness.run(registered(harness, software));
  assert(errno === 0, `registering the device answered ${errno}`);
  return { software, record };
}

/** A word of a page that is present, in its frame in RAM. */
export function wordOf(harness: HmmHarness, page: number, index: number): number {
  const pfn = ptePfn(harness.entryOf(page));
  const section = harness.machine.ram.sections.of(pfn);
  return section.i32[section.wordIndex(pfn) + index]!; // a page has that many words
}

/** In the set-up. */
export function setWordOf(harness: HmmHarness, page: number, index: number, value: number): void {
  const pfn = ptePfn(harness.entryOf(page));
  const section = harness.machine.ram.sections.of(pfn);
  section.i32[section.wordIndex(pfn) + index] = value;
}

/** An entry as the device has it that the page is exclusive to, if it is to one. */
function entryOfTaker(pte: number, entry: number): number {
  const isExclusive = pteKind(pte) === KIND_DEVICE_EXCLUSIVE;
  assert(
    isExclusive === ((entry & ENTRY_EXCLUSIVE) !== 0),
    "a device and the space differ about who may use the page",
  );
  return isExclusive ? endExclusive(pte) : pte;
}

/** Nothing is in flight. */
export function requireCoherent(
  { software, record }: DeviceWorld,
  { machine, mm, pages }: HmmHarness,
  entryOfCpu: (page: number) => number,
): void {
  const { table } = viewDevice(machine, software);
  const { frames } = table;
  assert(record.serviceOwner === 0, "a thread has stayed the service owner");
  const mapped = new Set<number>();
  for (let page = HARNESS_PAGE; page < HARNESS_PAGE + Math.max(2, pages); page++) {
    const entry = table.entryOf(page);
    if (entry === 0) continue;
    const pte = mm.pgd === 0 ? 0 : entryOfTaker(entryOfCpu(page), entry);
    assert((pte & PTE_PRESENT) !== 0, `the device has page ${page}, which the space has not`);
    const frame = entryFrameNumber(entry);
    if ((entry & ENTRY_LOCAL) === 0) {
      assert(
        frame === ptePfn(pte),
        `the device reaches frame ${frame} for page ${page}, which is in ${ptePfn(pte)}`,
      );
      assert(
        (entry & ENTRY_WRITE) === 0 || (pte & PTE_WRITE) !== 0,
        "the device may write what the CPU may not",
      );
      continue;
    }
    const local = frame - table.firstPfn;
    mapped.add(local);
    assert(
      (pte & PTE_WRITE) === 0,
      `page ${page} has a copy on the device, and the CPU may write it without telling`,
    );
    assert(
      frames.stateOf(local) === FRAME_MAPPED && frames.pageOf(local) === page,
      `frame ${local} is not its page's`,
    );
    const differ =
      machine.ram.sections.of(frame).u8[machine.ram.sections.of(frame).wordIndex(frame) * 4];
    const own = machine.ram.sections.of(ptePfn(pte)).u8[
      machine.ram.sections.of(ptePfn(pte)).wordIndex(ptePfn(pte)) * 4
    ];
    assert(differ === own, `the copy of page ${page} says ${differ}, the page ${own}`);
  }
  let free = 0;
  for (let frame = 0; frame < frames.frames; frame++) {
    if (frames.stateOf(frame) === FRAME_FREE) free++;
    assert(frames.stateOf(frame) !== FRAME_LOADING, `frame ${frame} of the device is lost`);
    assert(
      mapped.has(frame) === (frames.stateOf(frame) === FRAME_MAPPED),
      `frame ${frame} is mapped by nothing`,
    );
  }
  assert(
    record.freeFrames === free,
    `${free} frames of the device are free, and ${record.freeFrames} are said to be`,
  );
}

/** Two preemptions, and one wait that times out. */
export const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2, timeouts: 1 };

/** The same scenario with something taken away. */
export type Twin = readonly [
  name: string,
  summary: string,
  tasks: Readonly<Record<string, Body>>,
  expects?: FindingKind,
];

export interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly frames: number;
  readonly pages: number;
  readonly before?: Body;
  /** What has happened since, in no task: a death. */
  readonly since?: (world: DeviceWorld, harness: HmmHarness) => void;
  /** Default BOUNDED. */
  readonly exploration?: ScenarioExploration;
  /** Tasks that may die, where `exploration` says that one does. */
  readonly killable?: readonly string[];
  /** A death must not stop the machine, nor may it leave anything half done on the device. */
  readonly mustSurvive?: boolean;
  /** Labels of what may be left that was not there. Default: tables, or anything after a death. */
  readonly mayRemain?: readonly string[];
  /** Further things to be true in the end. */
  readonly check?: (world: DeviceWorld, harness: HmmHarness) => void;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly twins?: readonly Twin[];
}

export function playing(parts: Parts): Covered {
  const {
    name,
    summary,
    frames,
    pages,
    before,
    since,
    exploration = BOUNDED,
    killable,
    mustSurvive = false,
    mayRemain = killable === undefined ? ["table"] : "anything",
    tasks,
    twins = [],
    check,
  } = parts;
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, [, body]]) => [task, body]));
  const make = (
    fullName: string,
    about: string,
    own: Readonly<Record<string, Body>>,
    expects?: FindingKind,
  ): AnyScenario =>
    harnessScenario<DeviceWorld>({
      name: fullName,
      summary: about,
      exploration,
      // The device's page table grows with what it maps; a thread that dies may lose what it was
      // about to write down.
      mayRemain,
      ...(killable === undefined ? {} : { killable, mustSurvive }),
      ...(expects === undefined ? {} : { expects }),
      harness: { pages },
      setup: (harness) => {
        const world = makeDevice(harness, frames);
        if (before !== undefined) harness.run(before(world, harness));
        since?.(world, harness);
        return world;
      },
      tasks: own,
      check: (world, harness) => {
        requireCoherent(world, harness, (page) => harness.entryOf(page));
        check?.(world, harness);
      },
    });
  const fullName = `coverage/devices/${name}`;
  return {
    layer: "devices",
    scenario: make(fullName, summary, bodies),
    twins: twins.map(([twin, about, own, expects = "assertion"]) =>
      make(`${fullName}/${twin}`, about, { ...bodies, ...own }, expects),
    ),
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}
