/**
 * @module What a tidy rule is: a check over all files, with its own proof. `broken` are made-up
 * projects that each break the rule and must be caught; `sound` are look-alikes that must pass. A
 * rule without a broken twin proves nothing.
 */

import type { ProjectFile } from "./project-file.ts";

export interface Finding {
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
  /** What is wrong and what to do instead. */
  readonly message: string;
}

export interface Rule {
  /** What the project obeys, as a sentence. */
  readonly name: string;
  check(files: readonly ProjectFile[]): Finding[];
  /** Each entry is one project that must be caught, named by what is wrong with it. */
  readonly broken: Readonly<Record<string, readonly ProjectFile[]>>;
  readonly sound: Readonly<Record<string, readonly ProjectFile[]>>;
}
