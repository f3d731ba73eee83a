/**
 * @module Whatever two operations on mappings do at once: each access that another thread's could
 * race with is a scheduling point.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { HARNESS_PAGE, harnessScenario } from "../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { leafOf, pteIndex } from "../../src/mmu/radix-table.ts";
import { atomicLoad } from "../../src/sync/atomics.ts";
import { exploreEveryAccess } from "./every-access.ts";
import { EXECUTIONS, MAPPING_OPERATIONS, OPERATIONS, hiddenIn } from "./operation-pairs.ts";

const names = OPERATIONS.slice(0, MAPPING_OPERATIONS);
for (const [i, first] of names.entries()) {
  test(`${first} against every operation on mappings`, () => {
    assert.deepEqual(
      names.slice(i).flatMap((second) => hiddenIn(first, second)),
      [],
    );
  });
}

test("an access that no step names is found", () => {
  const scenario = harnessScenario({
    name: "hidden",
    harness: { pages: 1, present: 0 },
    setup: (harness) => {
      harness.run(cpuFault(harness.machine, harness.mm, HARNESS_PAGE, false));
      return undefined;
    },
    tasks: {
      fault: (_shared, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true),
      *look(_shared, { machine: { memory }, mm }) {
        yield* mm.mmapLock.downRead();
        atomicLoad(memory.words, pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE));
        yield* mm.mmapLock.upRead();
      },
    },
  });
  const { findings } = exploreEveryAccess(scenario, { engine: "random", executions: EXECUTIONS });
  assert.ok(findings.some(({ kind }) => kind === "data-race"));
});
