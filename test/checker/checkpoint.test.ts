/**
 * @module Stopping and going on: an exploration that is stopped again and again ends with what one
 * says that was never stopped, under every engine; and a checkpoint that does not fit is refused.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineName } from "../../src/checker/scenario.ts";
import { explore } from "../../src/checker/explore.ts";
import type { Exploration, ExploreOptions } from "../../src/checker/explore.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { CheckpointError, parseCheckpoint } from "../../src/checker/session/checkpoint.ts";
import { coverageText } from "../../src/checker/session/coverage-text.ts";
import * as locks from "./programs/locks.ts";
import * as variables from "./programs/variables.ts";
import * as waits from "./programs/waits.ts";
import { randomProgram } from "./random-programs.ts";

/**
 * Explores with a stop after every `stride` executions, each time through the text of a checkpoint.
 */
function withStops(
  program: Scenario<unknown>,
  options: ExploreOptions,
  stride: number,
): Exploration {
  const total = options.executions ?? Infinity;
  let seen = explore(program, { ...options, resumable: true, executions: Math.min(stride, total) });
  for (
    let limit = 2 * stride;
    seen.end === "executions" && limit < total + stride;
    limit += stride
  ) {
    assert.ok(seen.checkpoint !== undefined);
    const resumeFrom = parseCheckpoint(JSON.stringify(seen.checkpoint));
    seen = explore(program, {
      ...options,
      resumable: true,
      executions: Math.min(limit, total),
      resumeFrom,
    });
  }
  return seen;
}

function assertSame(seen: Exploration, whole: Exploration, says: string): void {
  const { seconds: _, executionsPerSecond: __, checkpoint: ___, ...rest } = seen;
  const { seconds: _s, executionsPerSecond: _e, checkpoint: _c, ...wholeRest } = whole;
  assert.deepEqual(rest, wholeRest, says);
}

const engines: readonly EngineName[] = ["optimal", "source", "sleep", "naive", "bounded", "delay"];
const samplingEngines: readonly EngineName[] = ["random", "pct", "pos"];
const programs: readonly Scenario<unknown>[] = [
  locks.abba(),
  locks.philosophers(3, false),
  locks.ssbexp(4),
  locks.tryLocks(2, 1, true),
  variables.lastzero(3),
  variables.inc(2),
  variables.fib(2),
  waits.waitEvent(1, 10),
  waits.handMade(1, true, Infinity),
];
const NAIVE_LIMIT = 400;

function limited(engine: EngineName): ExploreOptions {
  return engine === "naive" ? { executions: NAIVE_LIMIT } : {};
}

/** Each stop sets the scenario up anew, so long explorations are not stopped everywhere. */
const STOPS = 12;

for (const engine of engines) {
  test(`${engine}: stopped after every execution, or as often as that can be waited for`, () => {
    for (const program of programs) {
      const options: ExploreOptions = {
        engine,
        collectClasses: true,
        spuriousWakes: 0,
        ...limited(engine),
      };
      const whole = explore(program, options);
      const stride = Math.ceil((whole.executions + whole.blocked) / STOPS);
      assertSame(withStops(program, options, stride), whole, `${program.name}, every ${stride}`);
    }
  });
}

for (const engine of samplingEngines) {
  test(`${engine}: goes on with the same numbers`, () => {
    for (const program of programs) {
      const options: ExploreOptions = {
        engine,
        seed: 42,
        executions: 20,
        collectClasses: true,
        spuriousWakes: 0,
      };
      assertSame(withStops(program, options, 7), explore(program, options), program.name);
    }
  });
}

test("random programs with timeouts, spurious wakes and wakes that choose", (context) => {
  const first = Number(process.env["CHECKER_SEED"] ?? Date.now() % 1_000_000);
  context.diagnostic(`CHECKER_SEED=${first}`);
  for (let seed = first; seed < first + 10; seed++) {
    const program = randomProgram(seed);
    const budgets = {
      timeouts: seed % 3 === 0 ? 1 : Infinity,
      spuriousWakes: seed % 4 === 0 ? 1 : 0,
    };
    const options: ExploreOptions = {
      ...budgets,
      wakeAny: seed % 2 === 0,
      maxSteps: 300,
      executions: 200,
    };
    const stride = 20 + (seed % 29);
    assertSame(
      withStops(program, options, stride),
      explore(program, options),
      `CHECKER_SEED=${seed}`,
    );
  }
});

test("findings are those of an exploration that was never stopped", () => {
  const program = locks.philosophers(4, false);
  const whole = explore(program);
  assert.equal(whole.findings.length > 0, true);
  assertSame(withStops(program, {}, 3), whole, program.name);
});

test("time runs out between two executions, and the rest can be done later", () => {
  const program = variables.lastzero(5);
  const stopped = explore(program, { seconds: 0, resumable: true });
  assert.equal(stopped.end, "seconds");
  assert.equal(stopped.complete, false);
  assert.equal(coverageText(stopped), "stopped after 0 executions");
  assert.ok(stopped.checkpoint !== undefined);
  const seen = explore(program, { resumeFrom: stopped.checkpoint });
  assert.deepEqual([seen.classes, seen.complete, seen.end], [64, true, "covered"]);
});

test("an exploration can be cancelled", () => {
  let left = 10;
  const seen = explore(variables.lastzero(5), { isCancelled: () => left-- === 0, resumable: true });
  assert.deepEqual([seen.end, seen.executions], ["cancelled", 10]);
  assert.ok(seen.checkpoint !== undefined);
  assert.equal(explore(variables.lastzero(5), { resumeFrom: seen.checkpoint }).classes, 64);
});

test("without resumable there is no checkpoint, and with it none once everything was seen", () => {
  assert.equal(explore(variables.inc(2), { executions: 1 }).checkpoint, undefined);
  assert.equal(explore(variables.inc(2), { resumable: true }).checkpoint, undefined);
});

function checkpointText(): string {
  const { checkpoint } = explore(variables.lastzero(4), { executions: 5, resumable: true });
  return JSON.stringify(checkpoint);
}

function refuses(act: () => unknown, message: RegExp): void {
  assert.throws(act, (error) => error instanceof CheckpointError && message.test(error.message));
}

test("a checkpoint that does not fit is refused, with the reason", () => {
  const text = checkpointText();
  const good = parseCheckpoint(text);
  refuses(() => parseCheckpoint(text.slice(0, -20)), /cut off/);
  refuses(() => parseCheckpoint("[1, 2]"), /is none/);
  refuses(() => parseCheckpoint(text.replace('"executions":5', '"executions":4')), /was changed/);
  refuses(() => parseCheckpoint(text.replace(/"version":\d+/, '"version":99')), /version 99/);
  refuses(() => explore(variables.lastzero(5), { resumeFrom: good }), /made of "lastzero\(4\)"/);
  refuses(
    () => explore(variables.lastzero(4), { engine: "source", resumeFrom: good }),
    /made with engine optimal/,
  );
  refuses(
    () => explore(variables.lastzero(4), { spuriousWakes: 1, resumeFrom: good }),
    /spuriousWakes 0, not 1/,
  );
  refuses(
    () =>
      explore(variables.lastzero(4), {
        resumeFrom: { ...good, dependence: { ...good.dependence, scans: true } },
      }),
    /was changed/,
  );
});

test("a checkpoint of a scenario that has changed is refused", () => {
  const good = parseCheckpoint(checkpointText());
  const changed = { ...variables.lastzero(3), name: "lastzero(4)" };
  refuses(() => explore(changed, { resumeFrom: good }), /scenario has changed/);
});
