#!/usr/bin/env node
/**
 * @module The `hmm` command as an executable: gives the program this process, and keeps its exit
 * status.
 */

import { runProgram } from "./program.ts";
import { makeTerminal } from "./terminal.ts";

for (const stream of [process.stdout, process.stderr]) {
  // `hmm ... | head` closes the pipe early, which is no error of ours.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

// exitCode and not exit(): what was written to a pipe is still on its way.
process.exitCode = await runProgram(
  process.argv.slice(2),
  makeTerminal(process.stdout, process.stderr, process.env),
);
