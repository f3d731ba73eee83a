/**
 * @module What the options of an exploration must be. A misspelt one would be left out in silence,
 * and the exploration be another one than was asked for.
 */

import {
  type ArgumentRule,
  type OptionRules,
  aBoolean,
  aFunction,
  anObject,
  formatValue,
  ruleOf,
  takeOptions,
} from "../../sync/argument-rules.ts";
import { EINVAL } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import { nearNames } from "../../sync/near-names.ts";
import { ENGINE_NAMES, type Scenario } from "../scenario.ts";
import type { ExploreOptions } from "./exploration.ts";

/** Also Infinity: without a limit. */
const aNumber: ArgumentRule = ruleOf("a number", (value) => {
  return typeof value === "number" && !Number.isNaN(value);
});
const anArray: ArgumentRule = ruleOf("an array", Array.isArray);

const RULES: OptionRules<ExploreOptions> = {
  timeouts: aNumber,
  spuriousWakes: ruleOf('a number or "each"', (value) => {
    return value === "each" || aNumber.accepts(value);
  }),
  deaths: aNumber,
  wakeAny: aBoolean,
  maxSteps: aNumber,
  lockdep: aBoolean,
  spelledOut: aBoolean,
  engine: ruleOf(`one of ${ENGINE_NAMES.join(", ")}`, (value) =>
    ENGINE_NAMES.some((engine) => engine === value),
  ),
  preemptions: aNumber,
  delays: aNumber,
  seed: aNumber,
  pctDepth: aNumber,
  schedule: anArray,
  schedules: aFunction,
  lenient: aBoolean,
  finish: aBoolean,
  executions: aNumber,
  seconds: aNumber,
  isCancelled: aFunction,
  stopAtFinding: aBoolean,
  stopAt: aFunction,
  collectClasses: aBoolean,
  checkDeterminism: aBoolean,
  progressEvery: aNumber,
  onProgress: aFunction,
  resumable: aBoolean,
  resumeFrom: ruleOf("a checkpoint", () => true), // validCheckpoint says more
  symmetry: aBoolean,
  withSites: aBoolean,
  observer: anObject,
  weaknesses: anArray,
};

function refuse(text: string): HmmError {
  return new HmmError(EINVAL, "explore", `Cannot explore: ${text}`);
}

/** What a scenario may leave out: without `check`, misspelt, everything is well. */
const LEFT_OUT: readonly (keyof Scenario<unknown>)[] = [
  "summary",
  "expects",
  "exploration",
  "check",
  "mayRemain",
  "invariants",
  "killable",
  "symmetricTasks",
  "mustSurvive",
  "memory",
  "words",
  "reopen",
  "describe",
];

/**
 * Throws HmmError EINVAL for a field that is nearly one that a scenario may leave out. Others are a
 * program's own.
 */
export function requireFields(scenario: Scenario<unknown>): void {
  for (const field of Object.keys(scenario)) {
    const isKnown = LEFT_OUT.some((name) => name === field) || REQUIRED.has(field);
    const [nearest] = isKnown ? [] : nearNames(field, LEFT_OUT);
    const isNear = nearest !== undefined && Math.abs(nearest.length - field.length) <= 2;
    if (isNear)
      throw refuse(
        `the scenario ${formatValue(scenario.name)} has a field ${formatValue(field)}; ` +
          `if ${nearest} is meant, spell it so`,
      );
  }
}

const REQUIRED: ReadonlySet<string> = new Set(["name", "setup", "tasks"]);

/** Throws HmmError EINVAL for an unknown option and for one of another type. */
export function requireOptions(options: ExploreOptions): void {
  takeOptions<ExploreOptions>(refuse, options, RULES);
}
