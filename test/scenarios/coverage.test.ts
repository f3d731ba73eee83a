/**
 * The scenarios of src/'s own locks and lifetimes: the shipped code stands, each broken twin is
 * found out, and the functions that a scenario names are those that it runs (V8 counts their
 * calls). The engines are compared too: code that reads or writes what its step does not name makes
 * them see different classes.
 */

import assert from "node:assert/strict";
import { Session } from "node:inspector";
import type { Profiler } from "node:inspector";
import { test } from "node:test";
import { covered } from "../../command/scenarios/coverage/covered-list.ts";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration } from "../../src/checker/explore.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";

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
const MORE = 1_000;
/** At random, or a thread that dies, or that finds a lock taken, would come last. */
const FEW_AT_RANDOM = { engine: "random", executions: 100 } as const;

test("every scenario runs the functions that it names", () => {
  session.connect();
  session.post("Profiler.enable");
  // Slow, so for a few executions of each only.
  session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
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
      if (missing.length > 0) {
        // What runs only when two meet at one moment is not among the first executions.
        explore(scenario, {
          ...scenario.exploration,
          checkDeterminism: false,
          engine: "random",
          executions: MORE,
        });
        const calledThen = calledSince();
        missing = missing.filter((name) => !calledThen.has(name));
      }
      assert.deepEqual(missing, [], `${scenario.name} does not run`);
    }
  } finally {
    session.disconnect();
  }
});

function exploreAsSaid(scenario: AnyScenario): Exploration {
  const { expects } = scenario;
  const stop =
    expects === undefined
      ? {}
      : { stopAt: (finding: { kind: string }): boolean => finding.kind === expects };
  return explore(scenario, { ...scenario.exploration, ...stop });
}

test("names are unique", () => {
  const names = covered.flatMap(({ scenario, twins }) =>
    [scenario, ...twins].map(({ name }) => name),
  );
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  );
});

for (const { scenario, twins } of covered) {
  test(`${scenario.name}: ${scenario.summary ?? ""}`, () => {
    const { findings, complete, executions } = exploreAsSaid(scenario);
    assert.deepEqual(findings, []);
    assert.ok(
      complete || executions === scenario.exploration?.executions,
      "not explored as far as it says",
    );
  });

  for (const twin of twins) {
    test(`${twin.name}: ${twin.summary ?? ""}`, () => {
      const { findings } = exploreAsSaid(twin);
      assert.ok(
        findings.some(({ kind }) => kind === twin.expects),
        `${twin.expects ?? ""} was not found; found ${JSON.stringify(findings.map(({ kind, message }) => [kind, message]))}`,
      );
    });
  }
}

/**
 * Classes that the oracle is still quick with: the scenarios without a machine do 10,000 executions
 * a second.
 */
const SMALL = { sync: 3000, others: 20 } as const;

for (const [group, limit] of Object.entries(SMALL)) {
  test(`${group}: every engine sees the same classes where they are few`, () => {
    let compared = 0;
    for (const { layer, scenario } of covered) {
      if ((layer === "sync") !== (group === "sync")) continue;
      if ((scenario.exploration?.engine ?? "optimal") !== "optimal") continue;
      const optimal = explore(scenario, {
        ...scenario.exploration,
        collectClasses: true,
        executions: limit,
      });
      if (!optimal.complete) continue;
      const oracle = explore(scenario, {
        ...scenario.exploration,
        collectClasses: true,
        engine: "sleep",
      });
      assert.deepEqual(optimal.keys, oracle.keys, scenario.name);
      compared++;
    }
    assert.ok(compared > 0);
  });
}
