/**
 * @module `npm run linux`: compares AddressSpace with the running kernel, for as many random traces
 * as are asked for. Prints its seed, and for a difference the line that shows it again. Exit status
 * 0: no difference; 1: one; 2: a bad option; 4: it cannot be done here.
 */

import { parseArgs } from "node:util";
import { type Comparison, compare } from "./comparison.ts";
import { Mismatch } from "./play.ts";
import { TraceProgram } from "./trace-program.ts";

const DEFAULTS = { traces: 1000, steps: 200, first: 0 } as const;

function refuse(text: string): never {
  process.stderr.write(`npm run linux: ${text}\n`);
  process.exit(2);
}

function readOptions(): { seed: number; first: number; traces: number; steps: number } {
  const number = (name: string, text: string | undefined, fallback: number): number => {
    if (text === undefined) return fallback;
    if (!/^\d{1,9}$/.test(text))
      refuse(`--${name} is ${JSON.stringify(text)}; give a whole number below 10^9`);
    return Number(text);
  };
  const text = { type: "string" } as const;
  try {
    const { values } = parseArgs({
      options: { seed: text, first: text, traces: text, steps: text },
    });
    return {
      seed: number("seed", values.seed, Math.floor(Math.random() * 10 ** 9)),
      first: number("first", values.first, DEFAULTS.first),
      traces: number("traces", values.traces, DEFAULTS.traces),
      steps: number("steps", values.steps, DEFAULTS.steps),
    };
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
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
