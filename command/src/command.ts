/**
 * @module The interface of a command of `hmm`. Each command is in a file of its own and adds itself
 * to the program; only program.ts lists the commands.
 */

import type { Command } from "commander";

import type { Terminal } from "./terminal.ts";

/** What the action of a command gets: where to write, and where to put its exit status. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** EXIT_OK unless an action says otherwise. Errors that are thrown need not touch it. */
  exitStatus: number;
}

/** Adds one command to `parent`. */
export type AddCommand = (parent: Command, context: CommandContext) => void;
