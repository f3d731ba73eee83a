/**
 * @module The file of `hmm check --checkpoint FILE`, from which a stopped check goes on: the rows
 * that are complete, and a checkpoint of each exploration in progress. It is written to another
 * file and renamed, so a crash leaves the previous one.
 */

import { renameSync, rmSync, writeFileSync } from "node:fs";

import { CheckpointError, parseCheckpoint } from "../../../src/checker/session/checkpoint.ts";
import type { Checkpoint } from "../../../src/checker/session/checkpoint.ts";
import { UsageError } from "../exit-status.ts";
import { exists, readJsonFile } from "../named-files.ts";
import { quote } from "../option-values.ts";
import { isJudgedRow } from "./check-row.ts";
import type { JudgedRow } from "./check-row.ts";

const VERSION = 1;

/** The arguments and options of a check. They must be the same when it goes on. */
export type CheckQuestion = Readonly<Record<string, unknown>>;

export interface CheckState {
  /** By scenario. */
  readonly done: Map<string, JudgedRow>;
  readonly underWay: Map<string, Checkpoint>;
}

export class CheckpointFile {
  readonly #path: string | undefined;
  readonly #question: string;

  /** Without a path, nothing is kept. */
  constructor(path: string | undefined, question: CheckQuestion) {
    this.#path = path;
    this.#question = JSON.stringify(question);
  }

  /** Whether what is reached is kept at all. */
  get isKept(): boolean {
    return this.#path !== undefined;
  }

  /**
   * What there is to go on with; empty if there is no file yet. Throws UsageError if it is of
   * another check, or broken.
   */
  read(): CheckState {
    const path = this.#path;
    if (path === undefined || !exists(path)) return { done: new Map(), underWay: new Map() };
    const kept = parseKept(path);
    if (kept.question !== this.#question) {
      throw new UsageError(
        `Cannot go on from ${quote(path)}: it is of a check with other scenarios or options; remove it to begin anew`,
      );
    }
    const checkpoints = Object.entries(kept.underWay).map(([name, checkpoint]) => {
      return [name, readCheckpoint(path, checkpoint)] as const;
    });
    return { done: new Map(Object.entries(kept.done)), underWay: new Map(checkpoints) };
  }

  write({ done, underWay }: CheckState): void {
    const path = this.#path;
    if (path === undefined) return;
    const kept: Kept = {
      version: VERSION,
      question: this.#question,
      done: Object.fromEntries(done),
      underWay: Object.fromEntries(underWay),
    };
    const draft = `${path}.new`;
    writeFileSync(draft, JSON.stringify(kept));
    renameSync(draft, path);
  }

  /** There is nothing left to go on with. */
  remove(): void {
    if (this.#path !== undefined) rmSync(this.#path, { force: true });
  }
}

interface Kept {
  readonly version: number;
  readonly question: string;
  readonly done: Readonly<Record<string, JudgedRow>>;
  readonly underWay: Readonly<Record<string, unknown>>;
}

function parseKept(path: string): Kept {
  const broken = new UsageError(
    `Cannot go on from ${quote(path)}: it is no checkpoint of \`hmm check\`; name another file`,
  );
  const kept = readJsonFile(path);
  if (typeof kept !== "object" || kept === null) throw broken;
  const { version, question, done, underWay } = kept as Partial<Record<keyof Kept, unknown>>;
  if (version !== VERSION || typeof question !== "string") throw broken;
  if (typeof done !== "object" || done === null) throw broken;
  if (typeof underWay !== "object" || underWay === null) throw broken;
  const rows = Object.entries(done).flatMap(([name, row]: [string, unknown]) =>
    isJudgedRow(row) ? [[name, row] as const] : [],
  );
  if (rows.length !== Object.keys(done).length) throw broken;
  return {
    version: VERSION,
    question,
    done: Object.fromEntries(rows),
    underWay: underWay as Kept["underWay"],
  };
}

function readCheckpoint(path: string, checkpoint: unknown): Checkpoint {
  try {
    return parseCheckpoint(JSON.stringify(checkpoint));
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw new UsageError(`Cannot go on from ${quote(path)}: ${error.message}`);
  }
}
