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
  ruleOf,
  takeOptions,
} from "../../sync/argument-rules.ts";
import { EINVAL } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
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
  engine: ruleOf("the name of an engine", (value) => typeof value === "string"),
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

/** Throws HmmError EINVAL for an unknown option and for one of another type. */
export function requireOptions(options: ExploreOptions): void {
  const refuse = (text: string): HmmError =>
    new HmmError(EINVAL, "explore", `Cannot explore: ${text}`);
  takeOptions<ExploreOptions>(refuse, options, RULES);
}
