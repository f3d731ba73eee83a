/**
 * @module What a person gets to read of a finding: the text of a few small programs, letter by
 * letter, and what may vary.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import pc from "picocolors";
import { explore } from "../../src/checker/explore.ts";
import { findingIdentity } from "../../src/checker/findings/finding.ts";
import { replay } from "../../src/checker/replay/minimise.ts";
import { recordRun } from "../../src/checker/replay/record-run.ts";
import { renderTimeline } from "../../src/checker/report/timeline.ts";
import {
  dataRace,
  deadlock,
  endless,
  lockOrder,
  lostUpdate,
  lostWakeup,
  usedAfterFree,
} from "./programs/told.ts";
import { tell } from "./report-text.ts";
import { texts } from "./told-texts.ts";

for (const scenario of [
  dataRace,
  deadlock,
  endless,
  lockOrder,
  lostUpdate,
  lostWakeup,
  usedAfterFree,
]) {
  const { name } = scenario;
  test(`${name}: its text`, () => {
    assert.equal(tell(scenario).text, texts[name]);
  });

  test(`${name}: whatever engine found it, it is told in the same words`, () => {
    const sampled = { engine: "random", executions: 300, seed: 3 } as const;
    // Chance does not go round in a loop for long.
    for (const options of scenario === endless
      ? ([{ engine: "naive" }] as const)
      : [{ engine: "naive" } as const, sampled]) {
      assert.equal(tell(scenario, options).text, texts[name]);
    }
  });

  test(`${name}: the neighbour passes, and replays so by its token`, () => {
    const { passing, recording } = tell(scenario);
    // In any order, the locks are taken in both orders.
    assert.equal(passing === undefined, scenario === lockOrder);
    if (passing === undefined) return;
    assert.equal(passing.finding, undefined);
    assert.deepEqual(replay(scenario, passing.token, scenario.exploration), []);
    assert.notEqual(replay(scenario, recording.token, scenario.exploration).length, 0);
  });

  test(`${name}: its recording is data`, () => {
    const { recording } = tell(scenario);
    assert.deepEqual(
      JSON.parse(JSON.stringify(recording)),
      JSON.parse(JSON.stringify(structuredClone(recording))),
    );
    assert.equal(
      recording.steps.length,
      recording.finding === undefined ? 0 : tell(scenario).finding.steps,
    );
  });

  test(`${name}: no line is longer than the width, and colours change nothing else`, () => {
    const { recording, passing } = tell(scenario);
    for (const width of [60, 80, 120]) {
      const options = passing === undefined ? { width } : { width, passing };
      const plain = renderTimeline(recording, options);
      const tooLong = plain
        .split("\n")
        .filter((line) => line.length > width && !line.includes("hmm replay"));
      assert.deepEqual(tooLong, []);
      const coloured = renderTimeline(recording, { ...options, paint: pc.createColors(true) });
      assert.notEqual(coloured, plain);
      assert.equal(stripVTControlCharacters(coloured).replace(/ +$/gm, ""), plain);
    }
  });
}

test("a recording names places in the code, locks, waits, edges and clocks", () => {
  const { recording } = tell(deadlock);
  const [left, right] = recording.steps;
  assert.equal(left?.place?.file, "test/checker/programs/told.ts");
  assert.ok(
    left.stack.some(
      ({ file }) =>
        file === "src/sync/primitives/mutex.ts" || file === "src/sync/primitives/lock-word.ts",
    ),
  );
  assert.deepEqual(recording.finding?.cycle, [0, 1]);
  assert.deepEqual(right?.clock, [0, 1]);
  assert.equal(right.switched, "preempted");
  assert.deepEqual(
    recording.ends.map(({ text }) => text),
    ["waits for b, held by right", "waits for a, held by left"],
  );
  assert.deepEqual(
    recording.locks.map(({ label, task, from, to }) => [label, task, from, to]),
    [
      ["a", 0, 0, -1],
      ["b", 1, 1, -1],
    ],
  );
  const passing = tell(deadlock).passing;
  assert.deepEqual(
    passing?.edges.map(({ from, to, why }) => [from, to, why]),
    [
      [2, 4, "unlock"],
      [3, 5, "unlock"],
    ],
  );
});

test("a recording says what became of objects and words", () => {
  const { recording } = tell(usedAfterFree);
  const [mirror] = recording.objects;
  assert.deepEqual(mirror && [mirror.name, mirror.allocStep, mirror.freeStep, mirror.badSteps], [
    "mirror",
    0,
    3,
    [5],
  ]);
  const put = recording.steps.find(({ kind }) => kind === "refPut");
  assert.deepEqual(
    put?.changes.map(({ name, before, after }) => `${name} ${before} ${after}`),
    ["mirror.refcount 1 0"],
  );
  const counter = tell(lostUpdate).recording;
  assert.deepEqual(counter.tables, [{ title: "counter", rows: [["x", "0"]] }]);
  assert.deepEqual(counter.steps.at(-1)?.tables, [{ title: "counter", rows: [["x", "1"]] }]);
});

test("a schedule that passes is told so", () => {
  const recording = recordRun(deadlock, "h1-a4b4", { lockdep: false });
  assert.match(renderTimeline(recording), /^passes: /);
});

test("findings are counted by preemptions first, then by steps", () => {
  const { findings } = explore(usedAfterFree);
  const told = tell(usedAfterFree);
  const same = findings.find(
    (finding) => findingIdentity(finding) === findingIdentity(told.finding),
  );
  assert.ok(same !== undefined);
  assert.ok(told.finding.preemptions <= same.preemptions);
  assert.equal(told.finding.preemptions, 0);
});
