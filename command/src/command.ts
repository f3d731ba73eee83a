/**
 * @module What a command of `hmm` is. Each lives in a file of its own, adds itself to the program,
 * and is listed in program.ts; nothing else knows it.
 */

import type { Command } from "commander";

import type { Terminal } from "./terminal.ts";

/** What a command's action is given: where to write, and where to leave its exit status. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** EXIT_OK unless an action says otherwise. Errors that are thrown need not touch it. */
  exitStatus: number;
}

/** Adds one command to `parent`. */
export type AddCommand = (parent: Command, context: CommandContext) => void;
