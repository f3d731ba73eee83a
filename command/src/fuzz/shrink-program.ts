/**
 * @module Minimises a program with a finding: it removes tasks, calls, pages and rights as long as
 * the same is found; then it minimises the schedule. The schedule of one program means nothing for
 * another, so each smaller program is searched anew.
 */

import { explore } from "../../../src/checker/explore.ts";
import type { ExploreOptions } from "../../../src/checker/explore.ts";
import type { Finding } from "../../../src/checker/findings/finding.ts";
import { minimise } from "../../../src/checker/replay/minimise.ts";
import { confirm } from "./confirm.ts";
import type { FuzzCall, FuzzProgram } from "./fuzz-program.ts";
import { STEPS_MAX } from "./fuzz-stage.ts";
import type { OperationTable } from "./fuzz-stage.ts";
import { natureOf } from "./nature.ts";
import { programOf, withoutCall } from "./program-grammar.ts";
import { programScenario, stageFor } from "./program-scenario.ts";

/** The samples of a smaller program, the most effective first; then a bounded search. */
const SAMPLES = ["pct", "pos", "random"] as const;
const EXECUTIONS = 60;
const SEARCH: ExploreOptions = { engine: "bounded", preemptions: 1, executions: 300 };

export interface ShrunkProgram {
  readonly program: FuzzProgram;
  readonly finding: Finding;
}

/** Time limit for the minimisation: the smallest program so far is the result. */
const SHRINK_MS = 40_000;

/** The smallest program with the same finding that it finds, with its smallest schedule. */
export function shrinkProgram(
  program: FuzzProgram,
  finding: Finding,
  table: OperationTable,
): ShrunkProgram {
  let best: ShrunkProgram = { program, finding };
  let round: FuzzProgram | undefined;
  const endMs = performance.now() + SHRINK_MS;
  while (round !== best.program) {
    round = best.program;
    for (const smaller of [withoutTask, withoutOneCall, withSimplerCall]) {
      // Places are counted down, so that what was taken out does not move what is still to be
      // tried.
      for (let place = placesIn(best.program) - 1; place >= 0; place--) {
        if (performance.now() > endMs) break;
        for (const candidate of smaller(best.program, place)) {
          const found = findAgain(candidate, finding, table);
          if (found !== undefined) best = { program: candidate, finding: found };
          if (found !== undefined) break;
        }
      }
    }
  }
  const scenario = programScenario(best.program, "fuzz", table);
  return { program: best.program, finding: minimise(scenario, best.finding) };
}

function findAgain(
  program: FuzzProgram,
  wanted: Finding,
  table: OperationTable,
): Finding | undefined {
  const nature = natureOf(wanted);
  const stopAt = (found: Finding): boolean => natureOf(found) === nature;
  const stage = stageFor(Object.keys(program.tasks).length);
  for (const [seed, engine] of SAMPLES.entries()) {
    const options = { engine, seed, executions: EXECUTIONS, stopAt };
    const seen = stage.sample(program, table, options).findings.find(stopAt);
    const found = seen === undefined ? undefined : confirm(program, seen, table);
    if (found !== undefined) return found;
  }
  return explore(programScenario(program, "fuzz", table), {
    ...SEARCH,
    checkDeterminism: false,
    maxSteps: STEPS_MAX,
    stopAt,
  }).findings.find(stopAt);
}

/** Calls are counted through all tasks; the last place of each task stands for the task. */
function placesIn({ tasks }: FuzzProgram): number {
  return Object.values(tasks).reduce((sum, calls) => sum + calls.length + 1, 0);
}

function findPlace(
  { tasks }: FuzzProgram,
  place: number,
): { readonly task: number; readonly index: number } {
  let index = place;
  for (const [task, calls] of Object.values(tasks).entries()) {
    if (index <= calls.length) return { task, index };
    index -= calls.length + 1;
  }
  return { task: -1, index: 0 };
}

function* withoutTask(program: FuzzProgram, place: number): Generator<FuzzProgram> {
  const lists = Object.values(program.tasks);
  const { task, index } = findPlace(program, place);
  if (lists.length > 1 && index === lists[task]?.length) yield programOf(lists.toSpliced(task, 1));
}

function* withoutOneCall(program: FuzzProgram, place: number): Generator<FuzzProgram> {
  const lists = Object.values(program.tasks);
  const { task, index } = findPlace(program, place);
  const calls = lists[task];
  if (calls?.[index] !== undefined) yield programOf(lists.with(task, withoutCall(calls, index)));
}

function* withSimplerCall(program: FuzzProgram, place: number): Generator<FuzzProgram> {
  const lists = Object.values(program.tasks);
  const { task, index } = findPlace(program, place);
  const calls = lists[task];
  const call = calls?.[index];
  if (calls === undefined || call === undefined) return;
  for (const simpler of simplerCalls(call))
    yield programOf(lists.with(task, calls.with(index, simpler)));
}

/** The call without one of the things it says, or with half as many pages. */
function* simplerCalls(call: FuzzCall): Generator<FuzzCall> {
  for (const word of [
    "huge",
    "whole",
    "from",
    "child",
    "shared",
    "none",
    "place",
    "write",
    "page",
    "to",
  ] as const) {
    if (call[word] === undefined) continue;
    const { [word]: _gone, ...rest } = call;
    yield rest;
  }
  if ((call.pages ?? 1) > 1) yield { ...call, pages: 1 };
  if ((call.newPages ?? 1) > 1) yield { ...call, newPages: 1 };
}
