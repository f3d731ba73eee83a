/**
 * The functions that a scenario of src/'s own locks and lifetimes names are those that it runs: V8
 * counts their calls. One process for all of them, for the counts are of the process.
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { Session } from "node:inspector";
import type { Profiler } from "node:inspector";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { coveredLayers } from "../../../command/scenarios/coverage/covered.ts";
import { covered } from "../../../command/scenarios/coverage/covered-list.ts";
import { explore } from "../../../src/checker/explore.ts";

const session = new Session();

/** `mm/lifetime/mm.mmput` for every function of src/ that was called since the last time. */
function calledSince(): Set<string> {
  const called = new Set<string>();
  session.post("Profiler.takePreciseCoverage", (error, { result }) => {
    assert.equal(error, null);
    for (const script of result) for (const name of calledIn(script)) called.add(name);
  });
  return called;
}

function calledIn({ url, functions }: Profiler.ScriptCoverage): string[] {
  const module = /\/\.build\/(?:stepped\/)?src\/(.+)\.js$/.exec(url)?.[1];
  if (module === undefined) return [];
  return functions
    .filter(({ ranges }) => ranges.some(({ count }) => count > 0))
    .map(({ functionName }) => `${module}.${functionName.replace(/\.?\$steps$/, "")}`);
}

/** Enough executions for each task to have come to its end. */
const FEW = 8;
/** Of what is not among those: most need no more than these, which take a tenth of the time. */
const SOME = 100;
const MORE = 1_000;
/** At random, or a thread that dies, or that finds a lock taken, would come last. */
const FEW_AT_RANDOM = { engine: "random", executions: 100 } as const;

test("every scenario runs the functions that it names", () => {
  session.connect();
  session.post("Profiler.enable");
  // Slow, so for a few executions of each only.
  session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  const notRun: string[] = [];
  try {
    for (const { scenario, runs } of covered) {
      calledSince();
      const { deaths = 0, spelledOut = false } = scenario.exploration ?? {};
      explore(scenario, {
        ...scenario.exploration,
        checkDeterminism: false,
        ...(deaths > 0 || spelledOut ? FEW_AT_RANDOM : { executions: FEW }),
      });
      const called = calledSince();
      const named = [...new Set(Object.values(runs).flat())];
      let missing = named.filter((name) => !called.has(name));
      // What runs only when two meet at one moment is not among the first executions; and what runs
      // only after a death in the middle is seldom met at random.
      for (const executions of [SOME, MORE]) {
        for (const engine of ["random", scenario.exploration?.engine] as const) {
          if (missing.length === 0) break;
          explore(scenario, {
            ...scenario.exploration,
            checkDeterminism: false,
            ...(engine === undefined ? {} : { engine }),
            executions,
          });
          const calledThen = calledSince();
          missing = missing.filter((name) => !calledThen.has(name));
        }
      }
      for (const name of missing) notRun.push(`${scenario.name} does not run ${name}`);
    }
  } finally {
    session.disconnect();
  }
  assert.deepEqual(notRun, []);
});

test("names are unique", () => {
  const names = covered.flatMap(({ scenario, twins }) =>
    [scenario, ...twins].map(({ name }) => name),
  );
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  );
});

test("every layer has a file here that explores it", () => {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const files = new Set(readdirSync(folder).filter((name) => name.endsWith(".test.js")));
  const missing = coveredLayers.filter((layer) => !files.has(`${layer}.test.js`));
  assert.deepEqual(missing, []);
  assert.deepEqual(
    covered.filter(({ layer }) => !coveredLayers.includes(layer)),
    [],
  );
});
