/**
 * @module One thread of the device alone with its rounds of service: what they bring and what they
 * leave out when device memory is small, when pages thrash, and when a span collides. No other
 * thread comes in; what is looked for is a step that is missing or comes too early, which shows
 * without one.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { COMMANDS } from "../../../../src/devices/software/commands.ts";
import { REMOTE_LAPSE_MS, THRASH_EVENTS } from "../../../../src/devices/policy/thrash.ts";
import { readStats } from "../../../../src/devices/service/device-stats.ts";
import { ENTRY_LOCAL, ENTRY_WRITE } from "../../../../src/devices/service/device-table.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { FaultRing } from "../../../../src/devices/service/fault-ring.ts";
import { FaultService } from "../../../../src/devices/service/fault-service.ts";
import type { SpanServiceClass } from "../../../../src/devices/service/fault-service.ts";
import { SpanService } from "../../../../src/devices/service/span-service.ts";
import { prefetchPays } from "../../../../src/devices/policy/prefetch.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { withService } from "./kernel.ts";
import { makeDevice, requireCoherent } from "./stage.ts";
import type { DeviceWorld } from "./stage.ts";

const PAGE_BYTES = 4096;

/**
 * How each of the first pages is on the device: c copy, r in RAM for reading, w in RAM for writing,
 * - not at all.
 */
function entries({ software }: DeviceWorld, { machine }: HmmHarness, pages: number): string {
  const { table } = viewDevice(machine, software);
  const marks = Array.from({ length: pages }, (_, i) => {
    const entry = table.entryOf(HARNESS_PAGE + i);
    if (entry === 0) return "-";
    if ((entry & ENTRY_LOCAL) !== 0) return "c";
    return (entry & ENTRY_WRITE) === 0 ? "r" : "w";
  });
  return marks.join("");
}

function requireEntries(
  world: DeviceWorld,
  harness: HmmHarness,
  what: string,
  wanted: string,
): void {
  const are = entries(world, harness, wanted.length);
  assert(are === wanted, `after ${what} the pages are ${are}; must be ${wanted}`);
}

function* resolve(service: FaultService, page: number, isWrite: boolean = false): Task<void> {
  const errno = yield* service.resolve(page, isWrite, false);
  assert(errno === 0, `page ${page} was answered ${errno}`);
}

/** Frames of the device, all of them filled by the first fault, whose neighbours come along. */
const FRAMES = 16;

/**
 * A page beyond what fits: what was used stays, of the rest two make room, for it and for one of
 * its neighbours.
 */
function* pressure(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* withService(world, harness, function* (service) {
    const { frames } = service.device.table;
    yield* resolve(service, HARNESS_PAGE);
    requireEntries(world, harness, "the first fault", "cccccccccccccccc--");
    yield* callInSteps(frames, "touch", 2);
    yield* resolve(service, HARNESS_PAGE + FRAMES);
    requireEntries(world, harness, "a fault too many", "c-c-cccccccccccccc");
    requireCoherent(world, harness, (page) => harness.entryOf(page));
    const { evictions, prefetched } = readStats(world.record);
    assert(
      evictions === 2 && prefetched === FRAMES,
      `${evictions} pages went, ${prefetched} came unasked`,
    );
    // One was used that had come unasked, two went unused.
    assert(
      prefetchPays(frames.prefetchScore),
      "it pays to bring pages unasked, and is said not to",
    );
  });
}

/** What was used and goes says nothing against bringing pages unasked. */
function* used(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* withService(world, harness, function* (service) {
    yield* resolve(service, HARNESS_PAGE);
    yield* resolve(service, HARNESS_PAGE + 1);
    requireEntries(world, harness, "two faults with room for one", "-c");
    assert(
      prefetchPays(service.device.table.frames.prefetchScore),
      "a page that was used is taken for one that was not",
    );
  });
}

/** A page that the CPU stores to again and again is left in RAM after its third copy was lost. */
function* thrashes(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* withService(world, harness, function* (service) {
    for (const times of [1, 2, 3]) {
      yield* resolve(service, HARNESS_PAGE);
      requireEntries(world, harness, `losing it ${times - 1} times`, "c");
      assert((yield* harness.touch(HARNESS_PAGE)) === 0, "the CPU may store");
      requireEntries(world, harness, "a store of the CPU", "-");
    }
    yield* resolve(service, HARNESS_PAGE);
    requireEntries(world, harness, "losing it three times", "r");
    const { thrashing } = readStats(world.record);
    assert(thrashing === 1, `${thrashing} pages thrash`);
  });
}

/** Two pages thrash, one after the other: each is given up when its own time is up. */
function* expires(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* withService(world, harness, function* ({ device }) {
    const { thrash, table } = device;
    const [first, second] = [HARNESS_PAGE, HARNESS_PAGE + 1];
    const until = REMOTE_LAPSE_MS + 1;
    yield* table.driverLock.lock();
    for (const [i, page] of [first, second].entries())
      for (let times = 1; times <= THRASH_EVENTS; times++)
        assert(
          thrash.noteLoss(page, 1 + i) === (times === THRASH_EVENTS),
          `after ${times} losses a page thrashes too early, or too late`,
        );
    for (const [i, page] of [first, second].entries()) {
      assert(!thrash.hasExpired(until + i - 1), "a page's time is up too early");
      assert(thrash.hasExpired(until + i), "a page's time is never up");
      const released: number[] = [];
      thrash.expire(until + i, (one) => released.push(one));
      assert(released.join() === `${page}`, `the time is up of pages ${released.join()}`);
      assert(!thrash.isThrashing(page), "a page whose time was up still thrashes");
    }
    assert(!thrash.hasExpired(until + 2), "no page thrashes, and a time is up");
    yield* table.driverLock.unlock();
  });
}

/** Its time is up before any task runs, for whom the clock stands at 0. */
const LONG_AGO_MS = -1000;

/** In the set-up: a page is in RAM for a while, which is over. */
export function* thrashBefore(page: number, service: FaultService): Task<void> {
  const errno = yield* service.resolve(page, false, true);
  assert(errno === 0, `page ${page} was answered ${errno}`);
  const { thrash } = service.device;
  for (let times = 0; times < 3; times++) thrash.noteLoss(page, LONG_AGO_MS);
}

/** A page that was left in RAM for long enough gets a copy again; one that may be written stays. */
function* afterwards(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* withService(world, harness, function* (service) {
    requireEntries(world, harness, "the set-up", "r-");
    yield* resolve(service, HARNESS_PAGE + 1, true);
    requireEntries(world, harness, "a round when its time is up", "-w");
    yield* resolve(service, HARNESS_PAGE);
    requireEntries(world, harness, "a fault", "cw");
  });
}

/** Whatever covers the page collides, so many times. */
export function colliding(page: number, times: number): SpanServiceClass {
  let left = times;
  return class extends SpanService {
    protected override *isStillValid(range: HmmRange): Task<boolean> {
      const isValid = yield* super.isStillValid(range);
      if (!(range.startPage <= page && page < range.endPage) || left === 0) return isValid;
      left--;
      return false;
    }
  };
}

/** Four faults, one of which collides until it is read in RAM: the others get their copies. */
function* collisions(world: DeviceWorld, harness: HmmHarness): Task<void> {
  const { machine } = harness;
  // Twice as one of four, twice as one of two, twice alone.
  const service = yield* FaultService.open(
    viewDevice(machine, world.software),
    colliding(HARNESS_PAGE + 2, 6),
  );
  assert(typeof service !== "number", "a service can be had");
  const ring = new FaultRing(machine.memory, world.record.rings.get(0));
  for (let page = HARNESS_PAGE; page < HARNESS_PAGE + 4; page++) {
    assert(yield* callInSteps(ring, "put", page, false), "the ring has room");
  }
  assert((yield* callInSteps(ring, "countWaiting")) === 4, "four faults wait");
  yield* service.serveWaiting(ring);
  yield* service.close();
  requireEntries(world, harness, "a round in which one collides", "ccrc");
  const { retries, batches, faults } = readStats(world.record);
  assert(
    retries === 6 && batches === 1 && faults === 4,
    `${retries} retries, ${batches} batches, ${faults} faults`,
  );
}

/**
 * More pages than one section of the driver lock covers, none of them there: all are faulted in at
 * once.
 */
const MANY = 70;

function* manyPages(world: DeviceWorld, harness: HmmHarness): Task<void> {
  yield* withService(world, harness, function* (service) {
    const bytes = new Uint8Array(MANY * PAGE_BYTES).fill(1);
    const request = { address: HARNESS_PAGE * PAGE_BYTES, lengthBytes: bytes.length, bytes };
    const { errno, pages, faults } = yield* COMMANDS.read.run(service, request);
    assert(
      errno === 0 && pages === MANY && faults === 1,
      `answered ${errno}, ${pages} pages, ${faults} faults`,
    );
    assert(!bytes.includes(1), "pages that nobody has written are not zeros");
  });
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly pages: number;
  readonly present?: number;
  readonly frames: number;
  readonly before?: (world: DeviceWorld, harness: HmmHarness) => Task<void>;
  readonly body: (world: DeviceWorld, harness: HmmHarness) => Task<void>;
  readonly runs: readonly string[];
}

function alone({
  name,
  summary,
  pages,
  present = pages,
  frames,
  before,
  body,
  runs,
}: Parts): Covered {
  const scenario = harnessScenario<DeviceWorld>({
    name: `coverage/devices/alone/${name}`,
    summary,
    exploration: { maxSteps: 20_000 },
    mayRemain: ["table"],
    harness: { pages, present, arenaWords: 8192 },
    setup: (harness) => {
      const world = makeDevice(harness, frames);
      if (before !== undefined) harness.run(before(world, harness));
      return world;
    },
    tasks: { thread: body },
    check: ({ record }) =>
      assert(record.serviceOwner === 0, "a thread has stayed the service owner"),
  });
  return { layer: "devices", scenario, twins: [], runs: { thread: runs } };
}

const RESOLVE = [
  "devices/service/fault-service.resolve",
  "devices/service/span-service.serve",
] as const;

export const rounds: readonly Covered[] = [
  alone({
    name: "pressure",
    summary:
      "Device memory is full: what nobody has used makes room, for the page that faulted and for a neighbour.",
    pages: FRAMES + 2,
    frames: FRAMES,
    body: pressure,
    runs: [
      ...RESOLVE,
      "devices/service/frame-reserve.reserve",
      "devices/service/frame-reserve.reserveCold",
    ],
  }),
  alone({
    name: "used",
    summary: "A page that was used makes room for another one.",
    pages: 2,
    frames: 1,
    body: used,
    runs: [...RESOLVE, "devices/service/frames.judge"],
  }),
  alone({
    name: "thrashing",
    summary: "The CPU stores to a page after each copy of it: the device leaves it in RAM.",
    pages: 1,
    frames: 1,
    body: thrashes,
    runs: [...RESOLVE, "devices/policy/thrash.noteLoss", "devices/policy/thrash.isThrashing"],
  }),
  alone({
    name: "expiry",
    summary: "Two pages thrash: each is given up when its own time is up.",
    pages: 2,
    frames: 2,
    body: expires,
    runs: ["devices/policy/thrash.expire", "devices/policy/thrash.hasExpired"],
  }),
  alone({
    name: "thrashed",
    summary: "A page that was left in RAM for long enough gets a copy again.",
    pages: 2,
    frames: 2,
    before: (world, harness) =>
      withService(world, harness, (service) => thrashBefore(HARNESS_PAGE, service)),
    body: afterwards,
    runs: [...RESOLVE, "devices/policy/thrash.expire"],
  }),
  alone({
    name: "collisions",
    summary:
      "One of four faults collides again and again: the others get their copies, and it is read in RAM.",
    pages: 4,
    frames: 8,
    body: collisions,
    runs: ["devices/service/fault-service.serveWaiting", "devices/service/span-service.serve"],
  }),
  alone({
    name: "many-pages",
    summary: "A command reads more pages than it copies in one section of the driver lock.",
    pages: MANY,
    present: 0,
    frames: 1,
    body: manyPages,
    runs: ["devices/service/fault-service.serveRange"],
  }),
];
