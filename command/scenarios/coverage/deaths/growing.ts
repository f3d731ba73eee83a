/**
 * @module A thread that dies in an invalidation for which the records of a hmm have no room, at any
 * step of making a larger table (I5 of hmm/in-flight.ts), while another one begins: each table is
 * named by the hmm, and none is freed twice. In the twin a table is nobody's for a step.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { Hmm, IN_FLIGHT_INLINE, IN_FLIGHT_WORDS } from "../../../../src/hmm/hmm-struct.ts";
import { growInFlight, inFlightIsFull } from "../../../../src/hmm/in-flight.ts";
import { hmmGetOrCreate } from "../../../../src/hmm/mirror/get-or-create.ts";
import { hmmPut } from "../../../../src/hmm/mirror/hmm.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  notifierSrcu,
} from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";
import { ONE_STORE_OPS } from "./told-device.ts";

interface World {
  readonly hmm: Hmm;
  /** Tables of the machine. */
  readonly tables: number;
}

type Body = HarnessBody<World>;

/** What the records fill of a table of 2 KiB, and of one of 8. */
const SMALL: number = 512 / IN_FLIGHT_WORDS;
const MIDDLE: number = 2048 / IN_FLIGHT_WORDS;

function tablesOf({ machine }: HmmHarness): number {
  return machine.heap
    .accounting()
    .filter(({ name }) => /^words(512|2048|4096)$/.test(name))
    .reduce((sum, { live }) => sum + live, 0);
}

/** Fills the records with invalidations of far pages, none of which ends. */
function fillUp(harness: HmmHarness): World {
  const { machine, mm } = harness;
  const { mirror } = HarnessDevice.registered(harness, ONE_STORE_OPS);
  for (let i = 0; i < IN_FLIGHT_INLINE; i++) {
    const page = HARNESS_PAGE + 1000 + i;
    const far = invalidateRange(mm, page, page + 1, EVENT_CLEAR);
    harness.run(mmuNotifierInvalidateRangeStart(machine, far));
  }
  const hmm = Hmm.at(machine.memory, mirror.record.hmm);
  assert(inFlightIsFull(hmm), "there is no room for another record");
  return { hmm, tables: tablesOf(harness) };
}

function requireNamed({ inFlightTable, spare }: Hmm, found: number): void {
  const named = (inFlightTable === 0 ? 0 : 1) + (spare === 0 ? 0 : 1);
  assert(found === named, `${found} tables are there, and ${named} are named`);
}

const grows: Body = ({ hmm }, { machine }) => growInFlight(machine, hmm, IN_FLIGHT_INLINE);

/** The records are in a table already. */
function haveTable(harness: HmmHarness): World {
  const world = fillUp(harness);
  harness.run(growInFlight(harness.machine, world.hmm, IN_FLIGHT_INLINE));
  return world;
}

function* makeHmm({ machine, mm }: HmmHarness): Task<number> {
  yield* mm.mmapLock.downWrite();
  const at = yield* hmmGetOrCreate(machine, mm);
  yield* mm.mmapLock.upWrite();
  return at;
}

/** The hmm has one reference, and no mirror. The records fill a table. */
function haveFullTable(harness: HmmHarness): World {
  const { machine, mm } = harness;
  const tables = tablesOf(harness);
  const hmm = Hmm.at(machine.memory, harness.run(makeHmm(harness)));
  for (let i = 0; i < SMALL; i++) {
    const page = HARNESS_PAGE + 1000 + i;
    const far = invalidateRange(mm, page, page + 1, EVENT_CLEAR);
    harness.run(mmuNotifierInvalidateRangeStart(machine, far));
  }
  return { hmm, tables };
}

/** Drops the reference, which is the last one, but for an invalidation's. */
const endsHmm: Body = function* ({ hmm }, { machine }) {
  yield* hmmPut(machine, hmm);
  yield* (yield* notifierSrcu(machine)).barrier();
};

const invalidates: Body = function* (_world, { machine, mm }) {
  const range = invalidateRange(mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR);
  yield* mm.mmapLock.downRead();
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
};

/** Larger, and again larger. It may have been made so large meanwhile. */
const growsTwice: Body = function* ({ hmm }, { machine }) {
  yield* growInFlight(machine, hmm, SMALL);
  yield* growInFlight(machine, hmm, MIDDLE);
};

const growsLargest: Body = ({ hmm }, { machine }) => growInFlight(machine, hmm, MIDDLE);

/** Takes a table, and says so nowhere. */
const takesUnnoted: Body = function* (_world, { machine, mm }) {
  const table = yield* machine.heap.allocWords(512);
  yield* access(machine.memory, "read", mm.at, 1, "between");
  yield* machine.heap.freeWords(table, 512);
};

export const deathsInGrowing: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "hmm",
    name: "death/growing",
    summary:
      "A thread dies at any step of making a larger table for invalidations in flight, and another one makes it, too.",
    harness: { pages: 0 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup: fillUp,
    tasks: {
      dies: [["hmm/in-flight.growInFlight", "hmm/in-flight.freeSpare"], grows],
      grows: [["hmm/in-flight.growInFlight"], grows],
    },
    check({ hmm, tables }, harness) {
      requireNamed(hmm, tablesOf(harness) - tables);
      assert(hmm.inFlightTable !== 0, "the records have no larger table");
      assert(hmm.inFlightCount === IN_FLIGHT_INLINE, "a record is lost");
    },
    twins: [["unnoted", "It notes nowhere what it takes.", "assertion", { dies: takesUnnoted }]],
  }),
  coveringOnHarness<World>({
    layer: "hmm",
    name: "death/growing-again",
    summary:
      "A thread dies at any step of replacing one larger table by the next, while another one does the same.",
    harness: { pages: 0, arenaWords: 16_384 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup: haveTable,
    tasks: {
      dies: [["hmm/in-flight.growInFlight", "hmm/in-flight.freeSpare"], growsTwice],
      grows: [["hmm/in-flight.growInFlight"], growsLargest],
    },
    check({ hmm, tables }, harness) {
      const { inFlightCapacity, inFlightCount } = hmm;
      assert(inFlightCapacity > MIDDLE, `there is room for ${inFlightCapacity} records`);
      assert(inFlightCount === IN_FLIGHT_INLINE, "a record is lost");
      requireNamed(hmm, tablesOf(harness) - tables);
    },
    twins: [],
  }),
  coveringOnHarness<World>({
    layer: "hmm",
    name: "death/growing-vs-end",
    summary:
      "A thread dies at any step of an invalidation that makes a larger table, while the hmm ends: its tables are given back with it.",
    harness: { pages: 0, arenaWords: 16_384 },
    ...ONE_DIES,
    exploration: { engine: "bounded", preemptions: 0, deaths: 1 },
    mayRemain: "anything",
    setup: haveFullTable,
    tasks: {
      ends: [["hmm/mirror/hmm.hmmPut", "hmm/in-flight.freeInFlight"], endsHmm],
      dies: [["hmm/in-flight.growInFlight", "sync/death/recovery.giveUpRest"], invalidates],
    },
    check({ tables }, harness) {
      const left = tablesOf(harness) - tables;
      assert(left === 0, `${left} tables are left when the hmm has ended`);
    },
    twins: [],
  }),
];
