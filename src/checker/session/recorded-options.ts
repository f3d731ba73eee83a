/**
 * @module The options that a checkpoint records, and those with which a search goes on from it.
 */

import { defaultBudget } from "../scenario.ts";
import { CheckpointError } from "./checkpoint.ts";
import type { Checkpoint, RecordedOptions } from "./checkpoint.ts";
import type { ExploreOptions } from "./exploration.ts";

/** The options that a checkpoint records. */
export function recordOptions(options: ExploreOptions): RecordedOptions {
  const {
    engine = "optimal",
    preemptions,
    delays,
    seed,
    pctDepth,
    collectClasses,
    symmetry,
  } = options;
  const recorded: Record<string, string | number | boolean> = {};
  const { weaknesses } = options;
  const all = {
    ...defaultBudget,
    engine,
    preemptions,
    delays,
    seed,
    pctDepth,
    collectClasses,
    symmetry,
    weaknesses: weaknesses?.join(" "),
  };
  for (const [name, value] of Object.entries(all)) {
    const given =
      name in defaultBudget ? ((options as Record<string, unknown>)[name] ?? value) : value;
    if (typeof given === "number" || typeof given === "boolean" || typeof given === "string") {
      recorded[name] = given === Infinity ? "Infinity" : given;
    }
  }
  return recorded;
}

/**
 * The options with which a search goes on from a checkpoint: those that it records, and the given
 * ones that it does not record. Throws CheckpointError if a given option contradicts it.
 */
export function resumedOptions(checkpoint: Checkpoint, options: ExploreOptions): ExploreOptions {
  const recorded: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(checkpoint.options)) {
    recorded[name] = value === "Infinity" ? Infinity : value;
    if (name === "weaknesses") recorded[name] = String(value).split(" ");
  }
  const given = recordOptions(options);
  for (const [name, value] of Object.entries(given)) {
    const asked = (options as Record<string, unknown>)[name];
    const made = checkpoint.options[name];
    if (asked === undefined || value === made) continue;
    throw new CheckpointError(
      `Cannot go on from the checkpoint: it was made with ${name} ${String(made ?? "left out")}, not ${String(value)}; leave ${name} out`,
    );
  }
  return { ...options, ...recorded };
}
