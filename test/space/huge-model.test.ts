/**
 * @module Random calls on spaces with huge pages, and their forks, beside a naive model that knows
 * bytes and protections only. HMM_TEST_SEED runs a seed again, HMM_TEST_RUNS sets how many runs.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace, HmmError, SegmentationFault } from "../../src/index.ts";
import { accountingOf } from "./fixture.ts";
import { HugeModel, type HugeStep, drawHugeStep } from "./huge-model.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const runs = Number(process.env["HMM_TEST_RUNS"] ?? 30);
const STEPS = 60;

function randomNumbers(start: number): (below: number) => number {
  let state = start >>> 0 || 1;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Runs one sequence of calls. `skew` breaks the model, to see that it is compared. */
function runOnce(from: number, debug: boolean, skew: (step: HugeStep) => HugeStep): Set<string> {
  const random = randomNumbers(from);
  const ramBytes = (random(3) === 0 ? 24 : 64) * 2 ** 20; // frames in a row run out in 24
  const witness = AddressSpace.createSync({ ramBytes, debug, hugePages: "always" });
  const before = accountingOf(witness);
  const seen = new Set<string>();
  const model = new HugeModel(witness.forkSync());
  try {
    for (let i = 0; i < STEPS; i++) {
      const step = drawHugeStep(random);
      seen.add(step.kind);
      model.apply(step, skew(step));
    }
    model.checkAll();
  } finally {
    model.close();
  }
  assert.deepEqual(accountingOf(witness), before, "all is given back");
  witness[Symbol.dispose]();
  return seen;
}

for (const debug of [true, false]) {
  test(`random calls with huge pages, ${debug ? "debug" : "plain"}, seed ${seed}`, () => {
    const seen = new Set<string>();
    for (let i = 0; i < runs; i++) {
      try {
        for (const kind of runOnce(seed + i, debug, (step) => step)) seen.add(kind);
      } catch (error) {
        if (
          error instanceof HmmError &&
          !(error instanceof SegmentationFault) &&
          error.code === "ENOMEM"
        )
          continue; // RAM is used up, which the model does not know
        throw new Error(`run of seed ${seed + i}: HMM_TEST_SEED=${seed + i} HMM_TEST_RUNS=1`, {
          cause: error,
        });
      }
    }
    if (runs >= 30) assert.equal(seen.size, 12, "every kind of call");
  });
}

test("the model is compared: a store that it does not see is found", () => {
  assert.throws(() => {
    for (let i = 0; i < 20; i++)
      runOnce(1 + i, false, (step) =>
        step.kind === "store" ? { ...step, value: step.value + 1 } : step,
      );
  }, /page \d+/);
});
