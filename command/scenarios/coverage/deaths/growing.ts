/**
 * @module A thread that dies in an invalidation for which the records of a hmm have no room, at any
 * step of making a larger table (I5 of hmm/in-flight.ts), while another one begins: each table is
 * named by the hmm, and none is freed twice. In the twin a table is nobody's for a step.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { Hmm, IN_FLIGHT_INLINE } from "../../../../src/hmm/hmm-struct.ts";
import { growInFlight, inFlightIsFull } from "../../../../src/hmm/in-flight.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import { mmuNotifierInvalidateRangeStart } from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";
import { ONE_STORE_OPS } from "./told-device.ts";

interface World {
  readonly hmm: Hmm;
  /** Tables of the machine. */
  readonly tables: number;
}

type Body = HarnessBody<World>;

const TABLE = "words512";

function tablesOf({ machine }: HmmHarness): number {
  return machine.heap.accounting().find(({ name }) => name === TABLE)?.live ?? 0;
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

const grows: Body = ({ hmm }, { machine }) => growInFlight(machine, hmm, IN_FLIGHT_INLINE);

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
      const named = (hmm.inFlightTable === 0 ? 0 : 1) + (hmm.spare === 0 ? 0 : 1);
      const found = tablesOf(harness) - tables;
      assert(found === named, `${found} tables are there, and ${named} are named`);
      assert(hmm.inFlightTable !== 0, "the records have no larger table");
      assert(hmm.inFlightCount === IN_FLIGHT_INLINE, "a record is lost");
    },
    twins: [["unnoted", "It notes nowhere what it takes.", "assertion", { dies: takesUnnoted }]],
  }),
];
