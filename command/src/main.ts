#!/usr/bin/env node
/** @module The executable `hmm`: runs the program with this process, and sets its exit status. */

import { EXIT_INTERRUPTED } from "./interruption.ts";
import { endGpus } from "./open-gpus.ts";
import { runProgram } from "./program.ts";
import { makeTerminal } from "./terminal.ts";

for (const stream of [process.stdout, process.stderr]) {
  // `hmm ... | head` closes the pipe early, which is no error of ours. A full disk is the user's.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") return;
    if (stream === process.stdout)
      process.stderr.write(`hmm: Cannot write the output: ${error.message}; make room for it\n`);
    process.exit(1);
  });
}

const status = await runProgram(
  process.argv.slice(2),
  makeTerminal(process.stdout, process.stderr, process.env),
);
// Not exit(): output to a pipe may not have been written yet.
process.exitCode = status;
// What was interrupted may go on in other threads. When all is written, they end.
if (status === EXIT_INTERRUPTED) {
  await endGpus();
  process.stdout.write("", () => process.stderr.write("", () => process.exit(status)));
}
