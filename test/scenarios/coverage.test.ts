/**
 * The scenarios of src/'s own locks and lifetimes: the shipped code stands, each broken twin is found out, and the functions that a scenario names
 * are those that it runs (V8 counts their calls).
 * The engines are compared too: code that reads or writes what its step does not name makes them see different classes.
 */

import assert from "node:assert/strict";
import { Session } from "node:inspector";
import type { Profiler } from "node:inspector";
import { after, test } from "node:test";
import { covered } from "../../scenarios/coverage/covered-list.ts";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration } from "../../src/checker/explore.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";

const session = new Session();
session.connect();
const parameters = { callCount: true, detailed: false };
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", parameters);
after(() => session.disconnect());

/** `mm/mm.mmput` for every function of src/ that was called since the last time. */
function calledSince(): Set<string> {
  const called = new Set<string>();
  session.post("Profiler.takePreciseCoverage", (error, { result }) => {
    assert.equal(error, null);
    for (const script of result) for (const name of calledIn(script)) called.add(name);
  });
  return called;
}

function calledIn({ url, functions }: Profiler.ScriptCoverage): string[] {
  const module = /\/\.build\/src\/(.+)\.js$/.exec(url)?.[1];
  if (module === undefined) return [];
  return functions
    .filter(({ ranges }) => ranges.some(({ count }) => count > 0))
    .map(({ functionName }) => `${module}.${functionName}`);
}

function exploreAsSaid(scenario: AnyScenario): Exploration {
  const { expects } = scenario;
  const stop =
    expects === undefined ? {} : { stopAt: (finding: { kind: string }): boolean => finding.kind === expects };
  return explore(scenario, { ...scenario.exploration, ...stop });
}

test("names are unique", () => {
  const names = covered.flatMap(({ scenario, twins }) => [scenario, ...twins].map(({ name }) => name));
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  );
});

for (const { scenario, twins, runs } of covered) {
  test(`${scenario.name}: ${scenario.summary ?? ""}`, () => {
    calledSince();
    const { findings, complete, executions } = exploreAsSaid(scenario);
    assert.deepEqual(findings, []);
    assert.ok(complete || executions === scenario.exploration?.executions, "not explored as far as it says");
    const called = calledSince();
    const missing = new Set(
      Object.values(runs)
        .flat()
        .filter((name) => !called.has(name)),
    );
    assert.deepEqual([...missing], [], "named, and not run");
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

/** Classes that the oracle is still quick with. */
const SMALL = 3000;

for (const { scenario } of covered) {
  if ((scenario.exploration?.engine ?? "optimal") !== "optimal") continue;
  test(`${scenario.name}: every engine sees the same classes`, (context) => {
    const optimal = explore(scenario, { ...scenario.exploration, collectClasses: true, executions: SMALL });
    if (!optimal.complete) {
      context.skip(`more than ${SMALL} classes`);
      return;
    }
    const oracle = explore(scenario, { ...scenario.exploration, collectClasses: true, engine: "sleep" });
    assert.deepEqual(optimal.keys, oracle.keys);
  });
}
