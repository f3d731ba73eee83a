/**
 * @module `npm run linux`: compares AddressSpace with the running kernel, for as many random traces
 * as are asked for. Prints its seed, and for a difference the line that shows it again. Exit status
 * 0: no difference; 1: one; 2: a bad option; 4: it cannot be done here.
 */

import { CommandLine } from "../command-line.ts";
import { type Comparison, compare } from "./comparison.ts";
import { Mismatch } from "./play.ts";
import { TraceProgram } from "./trace-program.ts";

const commandLine = new CommandLine(
  "npm run linux",
  `
npm run linux -- [options]: compares AddressSpace with the running kernel, call by call
  --traces 1000   random traces
  --steps 200     calls in each
  --seed 5        what is drawn; default: another one each time
  --first 0       the number of the first trace`,
);

function readOptions(): { seed: number; first: number; traces: number; steps: number } {
  const text = { type: "string" } as const;
  const values = commandLine.read({
    seed: { ...text, default: String(Math.floor(Math.random() * 10 ** 9)) },
    first: { ...text, default: "0" },
    traces: { ...text, default: "1000" },
    steps: { ...text, default: "200" },
  });
  return {
    seed: commandLine.wholeNumber("seed", values.seed),
    first: commandLine.wholeNumber("first", values.first),
    traces: commandLine.wholeNumber("traces", values.traces, 1),
    steps: commandLine.wholeNumber("steps", values.steps, 1),
  };
}

function tell({ kernel, traces, steps, kinds }: Comparison): void {
  const met = Array.from(kinds, ([kind, count]) => `${kind} ${count}`)
    .toSorted()
    .join(", ");
  process.stdout.write(`Linux ${kernel}: ${traces} traces, ${steps} steps, no difference\n`);
  process.stdout.write(
    `where we mean to differ (docs/LINUX.md): ${met === "" ? "never met" : met}\n`,
  );
}

const options = readOptions();
const obstacle = TraceProgram.obstacle();
if (obstacle !== undefined) {
  process.stderr.write(`npm run linux: cannot compare: ${obstacle}\n`);
  process.exit(4);
}
process.stdout.write(`seed ${options.seed}, traces from ${options.first} on\n`);
using program = TraceProgram.compile();
const showsProgress = process.stderr.isTTY;
try {
  const result = await compare(program, options, (done) => {
    if (showsProgress) process.stderr.write(`\r${done} of ${options.traces} traces `);
    else if (done % 1000 === 0) process.stderr.write(`${done} of ${options.traces} traces\n`);
  });
  if (showsProgress) process.stderr.write("\r\u001b[K");
  if (typeof result === "string") {
    process.stderr.write(`npm run linux: cannot compare: ${result}\n`);
    process.exitCode = 4;
  } else {
    tell(result);
  }
} catch (error) {
  if (!(error instanceof Mismatch)) throw error;
  process.stdout.write(`${error.message}\n`);
  process.exitCode = 1;
}
