/**
 * @module The software device's own code, its threads played by tasks: two serve faults, or one and
 * a CPU that takes the page away, or an exit. In the end no entry of the device's table names what
 * is not the page's, and frame and entry know each other.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { readStats } from "../../../../src/devices/service/device-stats.ts";
import { FaultRing } from "../../../../src/devices/service/fault-ring.ts";
import { FaultService } from "../../../../src/devices/service/fault-service.ts";
import type { SpanServiceClass } from "../../../../src/devices/service/fault-service.ts";
import { SpanService } from "../../../../src/devices/service/span-service.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import type { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { zapNonBlocking } from "../../../../src/mm/entries/zap.ts";
import { EAGAIN, EBUSY, EFAULT, ESRCH } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { DONE_TRUE } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { colliding } from "./rounds.ts";
import { BOUNDED, type Body, type DeviceWorld, playing } from "./stage.ts";

/** As a thread of the device whose work item has faulted and must wait. */
export function* resolve(
  world: DeviceWorld,
  harness: HmmHarness,
  page: number,
  isWrite: boolean,
  Spans?: SpanServiceClass,
): Task<void> {
  const service = yield* FaultService.open(viewDevice(harness.machine, world.software), Spans);
  if (typeof service === "number") throw new Error(`no service: ${service}`);
  const errno = yield* service.resolve(page, isWrite, false);
  assert([0, EBUSY, EFAULT, ESRCH].includes(errno), `the fault was answered ${errno}`);
  yield* service.close();
}

/** As a thread of the device that has recorded a fault in its ring. */
function* serveRing(
  { software, record }: DeviceWorld,
  { machine }: HmmHarness,
  thread: number,
  page: number,
): Task<void> {
  const service = yield* FaultService.open(viewDevice(machine, software));
  if (typeof service === "number") throw new Error(`no service: ${service}`);
  const ring = new FaultRing(machine.memory, record.rings.get(thread));
  yield* callInSteps(ring, "put", page, false);
  yield* service.serveWaiting(ring);
  assert((yield* callInSteps(ring, "countWaiting")) === 0, "a fault was not taken out of its ring");
  // Nobody takes it away again, and there is room for all.
  assert(service.device.table.entryOf(page) !== 0, "a fault was answered before it was served");
  yield* service.close();
}

function* store({ machine, mm }: HmmHarness): Task<void> {
  yield* cpuFault(machine, mm, HARNESS_PAGE, true);
}

/** Under the driver lock it does not ask whether the range is still valid. */
export class DoesNotAsk extends SpanService {
  protected override isStillValid(): Task<boolean> {
    return DONE_TRUE;
  }
}

class DoesNotTrack extends SpanService {
  protected override *track(
    _mm: Mm,
    _start: number,
    _end: number,
    copyable: Uint8Array,
  ): Task<boolean> {
    copyable.fill(1);
    return false;
  }
}

const RESOLVE = [
  "devices/service/fault-service.resolve",
  "devices/service/span-service.serve",
  "devices/service/service-owner.becomeServiceOwner",
  "devices/service/service-owner.resignServiceOwner",
  "devices/service/frame-reserve.reserve",
] as const;
const WAITING = [
  "devices/service/fault-service.serveWaiting",
  "devices/service/fault-ring.put",
  "devices/service/fault-ring.drain",
  ...RESOLVE.slice(1),
] as const;
const LET_GO = ["devices/service/device-table.dropRange"] as const;
const read: Body = (world, harness) => resolve(world, harness, HARNESS_PAGE, false);
const readNext: Body = (world, harness) => resolve(world, harness, HARNESS_PAGE + 1, false);
const write: Body = (world, harness) => resolve(world, harness, HARNESS_PAGE, true);
const writeNext: Body = (world, harness) => resolve(world, harness, HARNESS_PAGE + 1, true);
const discard: Body = (_world, harness) => harness.discard(HARNESS_PAGE, 1);
const discardNext: Body = (_world, harness) => harness.discard(HARNESS_PAGE + 1, 1);
const discardThird: Body = (_world, harness) => harness.discard(HARNESS_PAGE + 2, 1);
const exit: Body = (_world, { machine, mm }) => mmput(machine, mm);
const reap: Body = function* (_world, { machine, mm }) {
  yield* mm.mmapLock.downRead();
  const errno = yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* mm.mmapLock.upRead();
  assert(errno === 0 || errno === EAGAIN, `the reaper was answered ${errno}`);
};
/**
 * Both pages have lost two copies in a row, and the device has another one of the second. The first
 * is not there.
 */
function* almostThrashing(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* harness.discard(HARNESS_PAGE, 1);
  yield* resolve(world, harness, HARNESS_PAGE + 1, false);
  const { thrash } = viewDevice(harness.machine, world.software);
  for (const page of [HARNESS_PAGE, HARNESS_PAGE, HARNESS_PAGE + 1, HARNESS_PAGE + 1])
    thrash.noteLoss(page, 0);
}

/** Its page cannot be copied: each time somebody comes in between. */
const collide: Body = (world, harness) =>
  resolve(world, harness, HARNESS_PAGE, false, colliding(HARNESS_PAGE, 2));
const storeNext: Body = (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE + 1, true);

const MADVISE = ["mm/calls/madvise.doMadvise", ...LET_GO] as const;

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
        { read: (world, harness) => resolve(world, harness, HARNESS_PAGE, false, DoesNotAsk) },
      ],
    ],
  }),
  playing({
    name: "read-around-vs-madvise",
    summary:
      "A device that makes no copies reads a page, and gets the next one with it, which the CPU discards.",
    frames: 0,
    pages: 2,
    tasks: { read: [RESOLVE, read], madvise: [MADVISE, discardNext] },
    twins: [
      [
        "does-not-ask",
        "Under the driver lock it does not ask whether the range is still valid.",
        { read: (world, harness) => resolve(world, harness, HARNESS_PAGE, false, DoesNotAsk) },
      ],
    ],
  }),
  playing({
    name: "write-around-vs-madvise",
    summary:
      "A device stores on behind a page that it stores to, and gets the next one with it, which the CPU discards.",
    frames: 1,
    pages: 3,
    before: write,
    tasks: { write: [RESOLVE.slice(0, -1), writeNext], madvise: [MADVISE, discardThird] },
    twins: [
      [
        "does-not-ask",
        "Under the driver lock it does not ask whether the range is still valid.",
        {
          write: (world, harness) => resolve(world, harness, HARNESS_PAGE + 1, true, DoesNotAsk),
        },
      ],
    ],
  }),
  playing({
    name: "read-vs-reap",
    summary:
      "The device brings a page that is taken without waiting: either the device lets go at once, or the page stays.",
    frames: 2,
    pages: 1,
    tasks: { read: [RESOLVE, read], reap: [["mm/entries/zap.zapNonBlocking", ...LET_GO], reap] },
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
    tasks: {
      read: [RESOLVE, read],
      store: [["mm/fault/cpu-fault.cpuFault"], (_world, harness) => store(harness)],
    },
    twins: [
      [
        "does-not-track",
        "It copies a page without taking the right to store away first.",
        { read: (world, harness) => resolve(world, harness, HARNESS_PAGE, false, DoesNotTrack) },
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
    summary:
      "The device has room for one page: it evicts one for another, while the CPU discards the first.",
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
    name: "serve-vs-serve",
    summary:
      "Two threads of the device have recorded a fault each: one serves both, or each its own.",
    frames: 4,
    pages: 2,
    tasks: {
      first: [WAITING, (world, harness) => serveRing(world, harness, 0, HARNESS_PAGE)],
      second: [WAITING, (world, harness) => serveRing(world, harness, 1, HARNESS_PAGE + 1)],
    },
  }),
  playing({
    name: "thrash-vs-thrash",
    summary:
      "A page that the device cannot copy and one that a CPU stores to are found to thrash at the same time.",
    frames: 2,
    pages: 2,
    before: almostThrashing,
    exploration: { ...BOUNDED, preemptions: 1 },
    tasks: {
      read: [["devices/policy/thrash.noteLoss"], collide],
      store: [["devices/policy/thrash.noteLoss", ...LET_GO], storeNext],
    },
    check: ({ record }) => {
      const { thrashing } = readStats(record);
      assert(thrashing === 2, `${thrashing} pages thrash`);
    },
  }),
  playing({
    name: "read-vs-exit",
    summary:
      "The space's last user goes while the device brings a page: the device lets go, or is the last to use the space.",
    frames: 2,
    pages: 1,
    tasks: { read: [RESOLVE.slice(0, -1), read], exit: [["mm/lifetime/mm.mmput"], exit] },
  }),
];
