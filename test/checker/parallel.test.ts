/**
 * @module Explorations with several threads: the same classes as with one, none twice and none in
 * vain, and no hang when a thread fails.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CheckpointError } from "../../src/checker/session/checkpoint.ts";
import { explore } from "../../src/checker/explore.ts";
import { findingIdentity } from "../../src/checker/findings/finding.ts";
import { replay } from "../../src/checker/replay/minimise.ts";
import { ExplorerCrash, exploreInParallel } from "../../src/checker/parallel/parallel.ts";
import type { ParallelOptions } from "../../src/checker/parallel/parallel.ts";
import type { Exploration, Progress } from "../../src/checker/explore.ts";
import { parallelPrograms } from "./parallel-programs.ts";

const module = new URL("./parallel-programs.js", import.meta.url);

function inParallel(
  scenario: string,
  jobs: number,
  options: ParallelOptions = {},
): Promise<Exploration> {
  return exploreInParallel({ module, scenario, jobs, options });
}

function programOf(name: string): (typeof parallelPrograms)[number] {
  const program = parallelPrograms.find((candidate) => candidate.name === name);
  assert.ok(program !== undefined, name);
  return program;
}

const special: ReadonlySet<string> = new Set(["exits", "fickle", "fib(4)", "fib(5)"]);

for (const program of parallelPrograms.filter(({ name }) => !special.has(name))) {
  test(`${program.name}: two threads see what one sees`, async () => {
    const whole = explore(program);
    const seen = await inParallel(program.name, 2);
    assert.deepEqual(
      [seen.classes, seen.executions, seen.blocked, seen.stuck, seen.complete, seen.end],
      [whole.classes, whole.executions, 0, whole.stuck, true, "covered"],
    );
    assert.deepEqual(
      seen.findings.map(findingIdentity),
      whole.findings.map(findingIdentity).toSorted(),
    );
    for (const finding of seen.findings) {
      const again = replay(program, finding.token).map(findingIdentity);
      assert.ok(again.includes(findingIdentity(finding)), finding.token);
    }
  });
}

test("findings do not depend on who is faster", async () => {
  const [first, second, third] = await Promise.all([
    inParallel("faulty", 2),
    inParallel("faulty", 2),
    inParallel("faulty", 3),
  ]);
  assert.ok(first.findings.length > 1);
  assert.deepEqual(second.findings, first.findings);
  assert.deepEqual(third.findings, first.findings);
});

test("a sampling engine is split by seeds, with the same result each time", async () => {
  const options: ParallelOptions = { engine: "random", executions: 301, seed: 5 };
  const first = await inParallel("fib(3)", 2, options);
  const second = await inParallel("fib(3)", 2, options);
  assert.equal(first.executions, 301);
  assert.equal(second.classes, first.classes);
  assert.ok(first.classes > explore(programOf("fib(3)"), { ...options, executions: 151 }).classes);
});

test("stopped by its signal, and gone on with", async () => {
  const controller = new AbortController();
  const onProgress = (): void => controller.abort();
  const options: ParallelOptions = { resumable: true };
  const request = {
    module,
    scenario: "fib(5)",
    jobs: 2,
    options,
    onProgress,
    signal: controller.signal,
  };
  const stopped = await exploreInParallel(request);
  assert.equal(stopped.end, "cancelled");
  assert.ok(stopped.checkpoint !== undefined && stopped.executions < 218_243);
  const resumeFrom = stopped.checkpoint;
  await assert.rejects(inParallel("lastzero(8)", 2, { resumeFrom }), CheckpointError);
  const executions = stopped.executions + 100;
  assert.equal(explore(programOf("fib(5)"), { resumeFrom, executions }).executions, executions);
});

test("stopped before it began", async () => {
  const seen = await exploreInParallel({
    module,
    scenario: "fib(5)",
    jobs: 2,
    signal: AbortSignal.abort(),
  });
  assert.deepEqual([seen.end, seen.complete], ["cancelled", false]);
});

test("it says how far it is, over all threads", async () => {
  const seen: Progress[] = [];
  const controller = new AbortController();
  const onProgress = (so: Progress): void => {
    seen.push(so);
    if (so.executions > 0) controller.abort();
  };
  await exploreInParallel({
    module,
    scenario: "fib(5)",
    jobs: 2,
    onProgress,
    signal: controller.signal,
  });
  const last = seen.at(-1);
  assert.ok(last !== undefined && last.executions > 0 && last.executionsPerSecond > 0);
});

test("a thread that ends is an error that says so", async () => {
  await assert.rejects(inParallel("exits", 2), (error) => {
    return (
      error instanceof ExplorerCrash &&
      /"exits": thread \d failed: it has ended/.test(error.message)
    );
  });
});

test("so is a scenario that is not the same each time, one that is not there, and a module that is not", async () => {
  const isCrash = (error: unknown): boolean => error instanceof ExplorerCrash;
  await assert.rejects(inParallel("fickle", 2), isCrash);
  await assert.rejects(inParallel("nowhere", 2), /exports no scenario of that name/);
  const lost = new URL("./no-such-module.js?", import.meta.url).href;
  await assert.rejects(exploreInParallel({ module: lost, scenario: "x", jobs: 2 }), isCrash);
});
