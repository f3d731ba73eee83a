/** @module Runs the command within this process, as a shell would, with what it printed. */

import { runProgram } from "../../command/src/program.ts";
import { capturedTerminal } from "./captured-terminal.ts";

/** How one run ended. */
export interface Run {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** `hmm` with these arguments. */
export async function hmm(...args: string[]): Promise<Run> {
  const terminal = capturedTerminal();
  const status = await runProgram(args, terminal);
  return { status, ...terminal.text };
}
