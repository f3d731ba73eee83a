/**
 * @module The software device's own code, its threads played by tasks: two serve faults, or one and a CPU that takes the page away, or an exit. In the end no entry of the
 * device's table names what is not the page's, and frame and entry know each other.
 */

import { RIG_PAGE, rigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../src/checker/rig/hmm-rig.ts";
import type { AnyScenario, ScenarioExploration } from "../../../src/checker/scenario.ts";
import type { DeviceRecord } from "../../../src/devices/software/device-record.ts";
import { createDevice, registerDevice } from "../../../src/devices/software/device-state.ts";
import { DeviceTable, ENTRY_LOCAL, ENTRY_WRITE, entryFrameNumber } from "../../../src/devices/software/device-table.ts";
import { viewDevice } from "../../../src/devices/software/device-thread.ts";
import { FaultRing } from "../../../src/devices/software/fault-ring.ts";
import { FaultService } from "../../../src/devices/software/fault-service.ts";
import type { SpanServiceClass } from "../../../src/devices/software/fault-service.ts";
import { FRAME_LOADING, FRAME_MAPPED } from "../../../src/devices/software/frames.ts";
import { SOFTWARE_DEVICE_OPS } from "../../../src/devices/software/mirror-ops.ts";
import { SpanService } from "../../../src/devices/software/span-service.ts";
import { cpuFault } from "../../../src/mm/cpu-fault.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { mmput } from "../../../src/mm/mm.ts";
import { PAGE_BYTES, PTE_PRESENT, PTE_WRITE, ptePfn } from "../../../src/mm/pte.ts";
import { EBUSY, EFAULT, ESRCH } from "../../../src/sync/errno.ts";
import { assert } from "../../../src/sync/errors.ts";
import { callInSteps } from "../../../src/sync/stepping.ts";
import type { Task } from "../../../src/sync/task.ts";
import { DONE_TRUE } from "../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

export interface DeviceWorld {
  readonly record: DeviceRecord;
}

type Body = (world: DeviceWorld, rig: HmmRig) => Task<unknown>;

/** No clock decides anything. */
const FOR_EVER_MS = 2 ** 30;

function* registered({ machine, mm }: HmmRig, record: DeviceRecord): Task<number> {
  yield* mm.mmapLock.downWrite();
  const errno = yield* registerDevice(machine, record, mm, SOFTWARE_DEVICE_OPS);
  yield* mm.mmapLock.upWrite();
  return errno;
}

export function makeDevice(rig: HmmRig, frames: number): DeviceWorld {
  const options = { memoryBytes: frames * PAGE_BYTES, threads: 2, faultTimeoutMs: FOR_EVER_MS };
  const record = rig.run(createDevice(rig.machine, options));
  if (typeof record === "number") throw new Error(`no device: ${record}`);
  const errno = rig.run(registered(rig, record));
  assert(errno === 0, `registering the device answered ${errno}`);
  return { record };
}

/** As a thread of the device whose work item has faulted and must wait. */
function* resolve(
  world: DeviceWorld,
  rig: HmmRig,
  page: number,
  isWrite: boolean,
  Spans?: SpanServiceClass,
): Task<void> {
  const service = yield* FaultService.open(viewDevice(rig.machine, world.record), Spans);
  if (typeof service === "number") throw new Error(`no service: ${service}`);
  const errno = yield* service.resolve(page, isWrite, false);
  assert([0, EBUSY, EFAULT, ESRCH].includes(errno), `the fault was answered ${errno}`);
  yield* service.close();
}

/** As a thread of the device that has recorded a fault in its ring. */
function* serveRing({ record }: DeviceWorld, { machine }: HmmRig, thread: number, page: number): Task<void> {
  const service = yield* FaultService.open(viewDevice(machine, record));
  if (typeof service === "number") throw new Error(`no service: ${service}`);
  const ring = new FaultRing(machine.memory, record.rings.get(thread));
  yield* callInSteps(ring, "put", page, false);
  yield* service.serveWaiting(ring);
  assert((yield* callInSteps(ring, "countWaiting")) === 0, "a fault was not taken out of its ring");
  yield* service.close();
}

/** Nothing is in flight. */
function requireCoherent({ record }: DeviceWorld, { machine, mm }: HmmRig, entryOfCpu: (page: number) => number): void {
  const table = new DeviceTable(machine, record);
  const { frames } = table;
  assert(record.turnOwner === 0, "somebody has kept the turn");
  const mapped = new Set<number>();
  for (let page = RIG_PAGE; page < RIG_PAGE + 2; page++) {
    const entry = table.entryOf(page);
    if (entry === 0) continue;
    const pte = mm.pgd === 0 ? 0 : entryOfCpu(page);
    assert((pte & PTE_PRESENT) !== 0, `the device has page ${page}, which the space has not`);
    const frame = entryFrameNumber(entry);
    if ((entry & ENTRY_LOCAL) === 0) {
      assert(frame === ptePfn(pte), `the device reaches frame ${frame} for page ${page}, which is in ${ptePfn(pte)}`);
      assert((entry & ENTRY_WRITE) === 0 || (pte & PTE_WRITE) !== 0, "the device may write what the CPU may not");
      continue;
    }
    const local = frame - table.firstPfn;
    mapped.add(local);
    assert((pte & PTE_WRITE) === 0, `page ${page} has a copy on the device, and the CPU may write it without telling`);
    assert(frames.stateOf(local) === FRAME_MAPPED && frames.pageOf(local) === page, `frame ${local} is not its page's`);
    const differ = machine.ram.section(frame).u8[machine.ram.section(frame).wordIndex(frame) * 4];
    const own = machine.ram.section(ptePfn(pte)).u8[machine.ram.section(ptePfn(pte)).wordIndex(ptePfn(pte)) * 4];
    assert(differ === own, `the copy of page ${page} says ${differ}, the page ${own}`);
  }
  for (let frame = 0; frame < frames.frames; frame++) {
    assert(frames.stateOf(frame) !== FRAME_LOADING, `frame ${frame} of the device is lost`);
    assert(mapped.has(frame) === (frames.stateOf(frame) === FRAME_MAPPED), `frame ${frame} is mapped by nothing`);
  }
}

function* store({ machine, mm }: HmmRig): Task<void> {
  yield* cpuFault(machine, mm, RIG_PAGE, true);
}

class DoesNotAsk extends SpanService {
  protected override isStillValid(): Task<boolean> {
    return DONE_TRUE;
  }
}

class DoesNotTrack extends SpanService {
  protected override *track(_mm: Mm, _start: number, _end: number, copyable: Uint8Array): Task<boolean> {
    copyable.fill(1);
    return false;
  }
}

const RESOLVE = [
  "devices/software/fault-service.resolve",
  "devices/software/span-service.serve",
  "devices/software/service-turn.takeTurn",
  "devices/software/service-turn.dropTurn",
  "devices/software/eviction.reserve",
] as const;
const WAITING = [
  "devices/software/fault-service.serveWaiting",
  "devices/software/fault-ring.put",
  "devices/software/fault-ring.drain",
  ...RESOLVE.slice(1),
] as const;
const LET_GO = ["devices/software/device-table.dropRange"] as const;
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2, timeouts: 1 };

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly frames: number;
  readonly pages: number;
  readonly before?: Body;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly twins?: readonly (readonly [name: string, summary: string, tasks: Readonly<Record<string, Body>>])[];
}

function playing({ name, summary, frames, pages, before, tasks, twins = [] }: Parts): Covered {
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, [, body]]) => [task, body]));
  const make = (fullName: string, about: string, own: Readonly<Record<string, Body>>, isTwin: boolean): AnyScenario =>
    rigScenario<DeviceWorld>({
      name: fullName,
      summary: about,
      exploration: BOUNDED,
      ...(isTwin ? { expects: "assertion" } : {}),
      rig: { pages },
      setup: (rig) => {
        const world = makeDevice(rig, frames);
        if (before !== undefined) rig.run(before(world, rig));
        return world;
      },
      tasks: own,
      check: (world, rig) => requireCoherent(world, rig, (page) => rig.entryOf(page)),
    });
  const fullName = `coverage/devices/${name}`;
  return {
    layer: "devices",
    scenario: make(fullName, summary, bodies, false),
    twins: twins.map(([twin, about, own]) => make(`${fullName}/${twin}`, about, { ...bodies, ...own }, true)),
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}

const read: Body = (world, rig) => resolve(world, rig, RIG_PAGE, false);
const readNext: Body = (world, rig) => resolve(world, rig, RIG_PAGE + 1, false);
const write: Body = (world, rig) => resolve(world, rig, RIG_PAGE, true);
const discard: Body = (_world, rig) => rig.discard(RIG_PAGE, 1);
const exit: Body = (_world, { machine, mm }) => mmput(machine, mm);
const MADVISE = ["mm/madvise.doMadvise", ...LET_GO] as const;

export const deviceServices: readonly Covered[] = [
  playing({
    name: "read-vs-madvise",
    summary: "The device brings a page that the CPU discards.",
    frames: 2,
    pages: 1,
    tasks: { read: [RESOLVE, read], madvise: [MADVISE, discard] },
    twins: [
      [
        "does-not-ask",
        "Under the driver lock it does not ask whether the range is still valid.",
        { read: (world, rig) => resolve(world, rig, RIG_PAGE, false, DoesNotAsk) },
      ],
    ],
  }),
  playing({
    name: "write-vs-madvise",
    summary: "The device maps a page for writing that the CPU discards.",
    frames: 2,
    pages: 1,
    tasks: { write: [RESOLVE.slice(0, -1), write], madvise: [MADVISE, discard] },
  }),
  playing({
    name: "read-vs-store",
    summary: "The device copies a page that a CPU store makes writable again: it loses the copy.",
    frames: 2,
    pages: 1,
    tasks: { read: [RESOLVE, read], store: [["mm/cpu-fault.cpuFault"], (_world, rig) => store(rig)] },
    twins: [
      [
        "does-not-track",
        "It copies a page without taking the right to store away first.",
        { read: (world, rig) => resolve(world, rig, RIG_PAGE, false, DoesNotTrack) },
      ],
    ],
  }),
  playing({
    name: "read-vs-write",
    summary: "Two threads of the device serve a read and a write of one page.",
    frames: 2,
    pages: 1,
    tasks: { read: [RESOLVE, read], write: [RESOLVE.slice(0, -1), write] },
  }),
  playing({
    name: "evict-vs-madvise",
    summary: "The device has room for one page: it evicts one for another, while the CPU discards the first.",
    frames: 1,
    pages: 2,
    before: read,
    tasks: { read: [RESOLVE, readNext], madvise: [MADVISE, discard] },
  }),
  playing({
    name: "evict-vs-read",
    summary: "The device has room for one page, and two threads bring one each.",
    frames: 1,
    pages: 2,
    tasks: { read: [RESOLVE, read], other: [RESOLVE, readNext] },
  }),
  playing({
    name: "turn-vs-turn",
    summary: "Two threads of the device have recorded a fault each: one serves both, or each its own.",
    frames: 4,
    pages: 2,
    tasks: {
      first: [WAITING, (world, rig) => serveRing(world, rig, 0, RIG_PAGE)],
      second: [WAITING, (world, rig) => serveRing(world, rig, 1, RIG_PAGE + 1)],
    },
  }),
  playing({
    name: "read-vs-exit",
    summary:
      "The space's last user goes while the device brings a page: the device lets go, or is the last to use the space.",
    frames: 2,
    pages: 1,
    tasks: { read: [RESOLVE.slice(0, -1), read], exit: [["mm/mm.mmput"], exit] },
  }),
];
