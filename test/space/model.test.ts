/**
 * @module Random sequences of operations on an address space and its forks, against a naive model.
 * A failure prints the seed and the shortest sequence; HMM_TEST_SEED runs that seed again,
 * HMM_TEST_RUNS sets how many sequences.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { accountingOf, makeSpace } from "./fixture.ts";
import { ModelRun, WINDOW_PAGES, operationArbitrary } from "./model-run.ts";
import { ModelSpace } from "./model.ts";

const seed = Number(process.env["HMM_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const numRuns = Number(process.env["HMM_TEST_RUNS"] ?? 150);

for (const debug of [true, false]) {
  test(`one thread, ${debug ? "debug" : "plain"} machine, seed ${seed}`, () => {
    fc.assert(
      fc.property(
        fc.array(operationArbitrary(true), { maxLength: 120, size: "max" }),
        (operations) => {
          using witness = makeSpace({ debug });
          const before = accountingOf(witness);
          {
            using space = witness.forkSync();
            const run = new ModelRun(space, new ModelSpace(), 512 - WINDOW_PAGES / 2, true);
            for (const operation of operations) run.step(operation);
            run.check();
            run.close();
          }
          assert.deepEqual(accountingOf(witness), before, "all is given back");
        },
      ),
      { seed, numRuns },
    );
  });
}

test("the model is compared indeed: a wrong answer is found", () => {
  class Forgetful extends ModelSpace {
    override store(page: number, value: number): number | string {
      return value % 4 === 0 ? 0 : super.store(page, value);
    }
  }
  const details = fc.check(
    fc.property(
      fc.array(operationArbitrary(true), { maxLength: 60, size: "max" }),
      (operations) => {
        using space = makeSpace({ debug: false });
        const run = new ModelRun(space, new Forgetful(), 512 - WINDOW_PAGES / 2, true);
        try {
          for (const operation of operations) run.step(operation);
          run.check();
        } finally {
          run.close();
        }
      },
    ),
    { seed, numRuns: 300 },
  );
  assert.equal(details.failed, true);
});
