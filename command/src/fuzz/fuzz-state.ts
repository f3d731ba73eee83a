/**
 * @module The file of `hmm fuzz --state FILE`, from which another run goes on: the seed, the next
 * program, and what was learned.
 */

import { renameSync, writeFileSync } from "node:fs";

import { UsageError } from "../exit-status.ts";
import { exists, readJsonFile } from "../named-files.ts";
import { quote } from "../option-values.ts";
import { readFuzzProgram } from "./fuzz-program.ts";
import type { Lesson } from "./fuzz-worker.ts";

const VERSION = 2;

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
  if (path === undefined || !exists(path))
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
  const state = readJsonFile(path);
  if (typeof state !== "object" || state === null) throw broken;
  const given = state as Partial<Record<keyof FuzzState, unknown>>;
  const { version, seed, next, programs = 0, executions = 0, seconds = 0, lessons } = given;
  if (version !== VERSION || !isWhole(seed) || !isWhole(next) || !Array.isArray(lessons))
    throw broken;
  if (!isWhole(programs) || !isWhole(executions) || typeof seconds !== "number") throw broken;
  const read = lessons.map(readLesson).filter((lesson) => lesson !== undefined);
  if (read.length !== lessons.length) throw broken;
  return { version, seed, next, programs, executions, seconds, lessons: read };
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function readLesson(value: unknown): Lesson | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { program, signals } = value as Partial<Record<keyof Lesson, unknown>>;
  if (!Array.isArray(signals) || !signals.every((signal) => typeof signal === "string"))
    return undefined;
  try {
    return { program: readFuzzProgram(program), signals };
  } catch {
    return undefined;
  }
}
