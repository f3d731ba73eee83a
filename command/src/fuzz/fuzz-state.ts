/**
 * @module The file of `hmm fuzz --state FILE`, from which another run goes on: the seed, the next
 * program, and what was learned.
 */

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

import { UsageError } from "../exit-status.ts";
import { quote } from "../option-values.ts";
import type { Lesson } from "./fuzz-worker.ts";

const VERSION = 1;

export interface FuzzState {
  readonly version: number;
  readonly seed: number;
  /** Number of the next program. */
  next: number;
  programs: number;
  executions: number;
  seconds: number;
  readonly lessons: Lesson[];
}

/**
 * A new state, or the one in the file `path`. Throws UsageError if the file has no state, or one of
 * another seed.
 */
export function readState(path: string | undefined, seed: number | undefined): FuzzState {
  if (path === undefined || !existsSync(path))
    return emptyState(seed ?? Math.floor(Math.random() * 2 ** 32));
  const state = parseState(path);
  if (seed !== undefined && seed !== state.seed) {
    throw new UsageError(
      `Cannot go on from ${quote(path)} with --seed ${seed}: it is of seed ${state.seed}; leave the option out, or name another file`,
    );
  }
  return state;
}

/** Writes another file and renames it: a crash leaves the previous one. */
export function writeState(path: string, state: FuzzState): void {
  writeFileSync(`${path}.new`, JSON.stringify(state));
  renameSync(`${path}.new`, path);
}

function emptyState(seed: number): FuzzState {
  return { version: VERSION, seed, next: 0, programs: 0, executions: 0, seconds: 0, lessons: [] };
}

function parseState(path: string): FuzzState {
  const broken = new UsageError(
    `Cannot go on from ${quote(path)}: it is no state of \`hmm fuzz\`; name another file`,
  );
  let state: Partial<FuzzState> | null;
  try {
    state = JSON.parse(readFileSync(path, "utf8")) as Partial<FuzzState> | null;
  } catch {
    throw broken;
  }
  const { version, seed, next, programs = 0, executions = 0, seconds = 0, lessons } = state ?? {};
  const isNumbered = Number.isSafeInteger(seed) && Number.isSafeInteger(next);
  if (version !== VERSION || !isNumbered || !Array.isArray(lessons)) throw broken;
  return { version, seed: seed ?? 0, next: next ?? 0, programs, executions, seconds, lessons };
}
