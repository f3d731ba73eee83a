#!/usr/bin/env node
/** @module The `hmm` command as an executable: gives the program this process, and keeps its exit status. */

import { makeTerminal } from "./terminal.ts";

/** Commands that explore: their modules are those in which plain functions have stepping forms (sync/stepping.ts). */
const exploring = /^(?:check|replay|fuzz)$/;
const derived = new URL("../../stepped/src/cli/program.js", import.meta.url).href;
const isDerived = /\/stepped\/src\/cli\/[^/]*$/.test(import.meta.url);

for (const stream of [process.stdout, process.stderr]) {
  // `hmm ... | head` closes the pipe early, which is no error of ours.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

// exitCode and not exit(): what was written to a pipe is still on its way.
const { runProgram } =
  !isDerived && process.argv.slice(2).some((word) => exploring.test(word))
    ? ((await import(derived)) as typeof import("./program.ts"))
    : await import("./program.ts");
process.exitCode = await runProgram(process.argv.slice(2), makeTerminal(process.stdout, process.stderr, process.env));
