/**
 * @module The pretend card, explored: one job beside a CPU thread that discards the card's page.
 * The driver that rechecks the sequence under its lock is sound in every order. Its twin, which
 * leaves the recheck out, reads a frame that has been freed.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explore } from "../../src/checker/explore.ts";
import { HARNESS_PAGE, harnessScenario } from "../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { hmmRangeValid } from "../../src/driver.ts";
import { DONE_TRUE } from "../../src/sync/tasks/task.ts";
import { PretendCard, type Recheck } from "./pretend-card.ts";

function scenario(recheck: Recheck): AnyScenario {
  return harnessScenario<PretendCard>({
    name: "a pretend card",
    harness: { pages: 1 },
    setup: (harness) => {
      const card = harness.run(
        PretendCard.open(harness.machine, harness.mm, HARNESS_PAGE, recheck),
      );
      if (typeof card === "number") throw new Error(`no card: ${card}`);
      return card;
    },
    tasks: {
      *read(card) {
        const errno = yield* card.read(new Uint32Array(1));
        assert.equal(errno, 0);
        assert.equal(card.mapped.size, 0, "nothing stays mapped for DMA");
      },
      discard: (_card, harness) => harness.discard(HARNESS_PAGE, 1),
    },
    reopen: (card) => card.mapped.clear(),
  });
}

test("a driver that rechecks under its lock is sound", () => {
  const { findings, complete } = explore(scenario(hmmRangeValid), {
    engine: "bounded",
    preemptions: 2,
  });
  assert.deepEqual(findings, []);
  assert.ok(complete);
});

test("its twin, which does not recheck, is caught", () => {
  const { findings } = explore(
    scenario(() => DONE_TRUE),
    { engine: "bounded", preemptions: 2 },
  );
  assert.deepEqual(
    findings.map(({ kind, message }) => `${kind}: ${message}`),
    ["use-after-free: read uses page data, which discard freed"],
  );
});
