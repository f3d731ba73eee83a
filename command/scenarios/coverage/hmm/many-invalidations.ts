/**
 * @module More invalidations at once than an hmm has records for. A blockable one makes a larger
 * table. A non-blockable one is only counted, and no range is valid until it has ended. At the end
 * nothing is in flight, every range is valid, and the table is freed with the hmm.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { Hmm, IN_FLIGHT_INLINE } from "../../../../src/hmm/hmm-struct.ts";
import { growInFlight } from "../../../../src/hmm/in-flight.ts";
import {
  hmmRangeAlloc,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { HmmRangeRecord, readSequence, sequenceIsValid } from "../../../../src/hmm/range-record.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import type { InvalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  notifierSrcu,
} from "../../../../src/notifier/mmu-notifier.ts";
import { EAGAIN } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { deviceOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";

/** The first task's thread. */
const FIRST = 0;

interface World {
  readonly device: HarnessDevice;
  /** Registered on the first page and on the second. */
  readonly ranges: readonly HmmRange[];
  readonly hmm: Hmm;
  /** Blocks of 512 words in use: the smallest table's size, and a page table's. */
  readonly blocks: number;
}

function blocksOf({ machine }: HmmHarness): number {
  return machine.heap.accounting().find(({ name }) => name === "words512")?.live ?? 0;
}

/** Pages without a mapping or a range. */
const FAR = HARNESS_PAGE + 1000;

function range(harness: HmmHarness, page: number, blockable: boolean = true): InvalidateRange {
  return invalidateRange(harness.mm, page, page + 1, EVENT_CLEAR, { blockable });
}

/** The invalidation, for its end by the same thread. */
function* start(harness: HmmHarness, page: number, blockable?: boolean): Task<InvalidateRange> {
  const started = range(harness, page, blockable);
  const answer = yield* mmuNotifierInvalidateRangeStart(harness.machine, started);
  assert(answer === 0, `a start was answered ${answer}`);
  return started;
}

function end({ machine }: HmmHarness, started: InvalidateRange): Task<void> {
  return mmuNotifierInvalidateRangeEnd(machine, started);
}

/** Of an invalidation that the setup has started. */
function endFar(harness: HmmHarness, page: number): Task<void> {
  return end(harness, range(harness, page));
}

function registered(harness: HmmHarness, device: HarnessDevice, page: number): HmmRange {
  const made = harness.run(hmmRangeAlloc(harness.machine, { pfns: new Uint32Array(1) }));
  if (typeof made === "number") throw new Error(`no range: ${made}`);
  const errno = harness.run(
    hmmRangeRegister(made, device.mirror, page * PAGE_BYTES, (page + 1) * PAGE_BYTES),
  );
  assert(errno === 0, `registering answered ${errno}`);
  return made;
}

/** `count` invalidations of far pages are in flight, the first of page FAR. */
function worldWith(harness: HmmHarness, count: number): World {
  const device = deviceOf(harness, FIRST);
  const ranges = [
    registered(harness, device, HARNESS_PAGE),
    registered(harness, device, HARNESS_PAGE + 1),
  ];
  for (let i = 0; i < count; i++) harness.run(start(harness, FAR + i));
  return {
    device,
    ranges,
    hmm: Hmm.at(harness.machine.memory, harness.mm.hmm),
    blocks: blocksOf(harness),
  };
}

/** Without a lock: the caller is the only task that runs. */
function validity({ ranges }: World): string {
  return ranges
    .map(({ record }) => (sequenceIsValid(readSequence(record)) ? "valid" : "invalid"))
    .join(", ");
}

function requireAccounting(
  { hmm }: World,
  inFlight: number,
  overflow: number,
  capacity: number,
): void {
  const { notifiers, inFlightCount } = hmm;
  assert(notifiers === inFlight, `${notifiers} invalidations are counted, of ${inFlight}`);
  assert(hmm.overflow === overflow, `${hmm.overflow} have no record, of ${overflow}`);
  assert(
    inFlightCount === inFlight - overflow,
    `${inFlightCount} have a record, of ${inFlight - overflow}`,
  );
  assert(
    hmm.inFlightCapacity === capacity,
    `there is room for ${hmm.inFlightCapacity}, not ${capacity}`,
  );
  assert(hmm.spare === 0, "a table is kept that nobody uses");
}

/** The next table's records (in-flight.ts). */
const GROWN = 256;
const GROWN_AGAIN = 1024;

function* growAndExit(world: World, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const count = world.hmm.inFlightCount;
  const started = yield* start(harness, HARNESS_PAGE);
  requireAccounting(world, count + 1, 0, count === GROWN ? GROWN_AGAIN : GROWN);
  assert(validity(world) === "invalid, valid", `the ranges are ${validity(world)}`);
  yield* endFar(harness, FAR);
  yield* endFar(harness, FAR + count - 1);
  assert(validity(world) === "invalid, valid", `the ranges are ${validity(world)}`);
  yield* end(harness, started);
  requireAccounting(world, count - 2, 0, count === GROWN ? GROWN_AGAIN : GROWN);
  assert(validity(world) === "valid, valid", `the ranges are ${validity(world)}`);
  for (const one of world.ranges) yield* hmmRangeUnregister(one);
  yield* world.device.unregister();
  yield* mmput(machine, mm);
  yield* (yield* notifierSrcu(machine)).barrier();
  const left = machine.heap
    .accounting()
    .filter(({ name }) => /^(hmm|words512|words2048)$/.test(name));
  assert(
    left.length === 0,
    `left behind: ${left.map(({ name, live }) => `${live} ${name}`).join(", ")}`,
  );
}

/** An invalidation has found the first records full, and comes back after others have grown. */
function* growLate(world: World, harness: HmmHarness): Task<void> {
  const count = world.hmm.inFlightCount;
  const started = yield* start(harness, HARNESS_PAGE);
  yield* growInFlight(harness.machine, world.hmm, IN_FLIGHT_INLINE);
  requireAccounting(world, count + 1, 0, GROWN_AGAIN);
  yield* end(harness, started);
}

/** A non-blockable invalidation finds the table full. */
function* countOnly(world: World, harness: HmmHarness): Task<void> {
  const count = world.hmm.inFlightCount;
  const started = yield* start(harness, FAR - 1, false);
  requireAccounting(world, count + 1, 1, IN_FLIGHT_INLINE);
  assert(validity(world) === "invalid, invalid", `the ranges are ${validity(world)}`);
  const [first] = world.ranges;
  if (first === undefined) return;
  yield* hmmRangeUnregister(first);
  const errno = yield* hmmRangeRegister(
    first,
    world.device.mirror,
    HARNESS_PAGE * PAGE_BYTES,
    (HARNESS_PAGE + 1) * PAGE_BYTES,
  );
  assert(errno === 0, `registering answered ${errno}`);
  assert(validity(world) === "invalid, invalid", `the ranges are ${validity(world)}`);
  yield* endFar(harness, FAR);
  requireAccounting(world, count, 1, IN_FLIGHT_INLINE);
  assert(validity(world) === "invalid, invalid", `the ranges are ${validity(world)}`);
  yield* end(harness, started);
  requireAccounting(world, count - 1, 0, IN_FLIGHT_INLINE);
  assert(validity(world) === "valid, valid", `the ranges are ${validity(world)}`);
}

function* startAndEnd(world: World, harness: HmmHarness, page: number): Task<void> {
  const started = yield* start(harness, page);
  const record = world.ranges
    .map(({ record: { at } }) => at)
    .map((at) => HmmRangeRecord.at(harness.machine.memory, at));
  yield* world.hmm.rangesLock.lock();
  const own = record.find(({ startPage }) => startPage === page);
  assert(
    own === undefined || !sequenceIsValid(readSequence(own)),
    "a range is valid whose pages are being changed",
  );
  yield* world.hmm.rangesLock.unlock();
  yield* end(harness, started);
}

const START = [
  "hmm/mirror/invalidate.hmmInvalidateRangeStart",
  "hmm/mirror/invalidate.hmmInvalidateRangeEnd",
] as const;
const GROW = [...START, "hmm/in-flight.growInFlight", "hmm/in-flight.recordInFlight"] as const;
const EXIT = [
  "hmm/in-flight.freeInFlight",
  "mm/lifetime/mm.mmput",
  "hmm/range/range.hmmRangeUnregister",
] as const;

function alone(
  name: string,
  summary: string,
  inFlight: number,
  runs: readonly string[],
  body: (world: World, harness: HmmHarness) => Task<void>,
): Covered {
  const scenario = harnessScenario<World>({
    name: `coverage/hmm/in-flight/${name}`,
    summary,
    harness: { pages: 2, arenaWords: 8192 },
    exploration: { maxSteps: 40_000 },
    setup: (harness) => worldWith(harness, inFlight),
    tasks: { start: body },
  });
  return { layer: "hmm", scenario, twins: [], runs: { start: runs } };
}

const twoGrow: Covered = {
  layer: "hmm",
  scenario: harnessScenario<World>({
    name: "coverage/hmm/in-flight/two-grow",
    summary: "Two invalidations find the table full at the same time: one makes room for both.",
    harness: { pages: 2 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup: (harness) => worldWith(harness, IN_FLIGHT_INLINE),
    tasks: {
      first: (world, harness) => startAndEnd(world, harness, HARNESS_PAGE),
      second: (world, harness) => startAndEnd(world, harness, HARNESS_PAGE + 1),
    },
    check: (world, harness) => {
      requireAccounting(world, IN_FLIGHT_INLINE, 0, GROWN);
      assert(validity(world) === "valid, valid", `the ranges are ${validity(world)}`);
      assert(
        blocksOf(harness) === world.blocks + 1,
        `there are ${blocksOf(harness) - world.blocks} new tables, not 1`,
      );
    },
  }),
  twins: [],
  runs: { first: GROW, second: GROW },
};

/** The sequence of the first range in the set-up. */
const FIRST_SEQUENCE = 2;

/** S1 of hmm/range-record.ts, whatever becomes of the other invalidation meanwhile. */
const countedBesideChange: Covered = {
  layer: "hmm",
  scenario: harnessScenario<World>({
    name: "coverage/hmm/in-flight/count-vs-change",
    summary:
      "An invalidation that is only counted makes all ranges invalid, while one of a range's pages gives it a new number.",
    harness: { pages: 2 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup: (harness) => worldWith(harness, IN_FLIGHT_INLINE),
    tasks: {
      *counted(_world, harness) {
        const counted = range(harness, FAR - 1, false);
        const answer = yield* mmuNotifierInvalidateRangeStart(harness.machine, counted);
        assert(answer === 0 || answer === EAGAIN, `a start was answered ${answer}`);
        if (answer === 0) yield* end(harness, counted);
      },
      *change(_world, harness) {
        yield* end(harness, yield* start(harness, HARNESS_PAGE));
      },
    },
    check: (world) => {
      const [changed] = world.ranges;
      const sequence = changed === undefined ? 0 : readSequence(changed.record);
      assert(sequence > FIRST_SEQUENCE, `the range's number is ${sequence} after a change`);
      assert(validity(world) === "valid, valid", `the ranges are ${validity(world)}`);
    },
  }),
  twins: [],
  runs: { counted: [...START, "hmm/in-flight.recordInFlight"], change: GROW },
};

export const manyInvalidations: readonly Covered[] = [
  alone(
    "grow",
    "One more than fits: the table grows, and is freed with the hmm.",
    IN_FLIGHT_INLINE,
    [...GROW, ...EXIT],
    growAndExit,
  ),
  alone(
    "grow-again",
    "One more than the larger table holds.",
    GROWN,
    [...GROW, ...EXIT],
    growAndExit,
  ),
  alone(
    "grow-late",
    "One that found no room makes more when others have made more than that: it stays.",
    GROWN,
    GROW,
    growLate,
  ),
  alone(
    "count",
    "A non-blockable one finds the table full: until it ends no range is valid, not even a new one.",
    IN_FLIGHT_INLINE,
    [...START, "hmm/range/range.hmmRangeRegister", "hmm/in-flight.forgetInFlight"],
    countOnly,
  ),
  twoGrow,
  countedBesideChange,
];
