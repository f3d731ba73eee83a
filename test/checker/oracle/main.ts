/**
 * @module The long form of oracle.test.ts: `npm run oracle -- --seed 1 --programs 20000`. Prints
 * the first program on which some engine and the oracle do not agree, made small, with a line that
 * repeats it; then the exit status is 1, and 2 for a bad option.
 */

import { CommandLine } from "../../command-line.ts";
import type { Program } from "./language.ts";
import { compareSafely, failureOf, search, reportFailure } from "./search.ts";

const PROGRESS_MS = 10_000;

const commandLine = new CommandLine(
  "npm run oracle",
  `
npm run oracle -- [options]: compares the checker's engines with a brute-force interpreter
  --seed 1          random programs from this seed on; default: another one each time
  --programs 1000   how many
  --program {...}   this one alone, as a report prints it
  --patience 2000   programs with more classes than this are left out as too large`,
);
const values = commandLine.read({
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  programs: { type: "string", default: "1000" },
  program: { type: "string" },
  patience: { type: "string", default: "2000" },
});
const seed = commandLine.wholeNumber("seed", values.seed);
const programs = commandLine.wholeNumber("programs", values.programs, 1);
const options = { patience: commandLine.wholeNumber("patience", values.patience) };

function readProgram(text: string): Program {
  try {
    const program: unknown = JSON.parse(text);
    if (typeof program === "object" && program !== null && "tasks" in program)
      return program as Program; // as a report printed it
  } catch {
    // Told below.
  }
  return commandLine.refuse(`--program is no program: ${JSON.stringify(text.slice(0, 60))}`);
}

function runOne(text: string): number {
  const program = readProgram(text);
  const { isTooLarge, differences } = compareSafely(program, options);
  if (differences.length > 0) console.log(reportFailure(failureOf(program, undefined, options)));
  else
    console.log(isTooLarge ? "too large: raise --patience" : "all engines agree with the oracle");
  return differences.length > 0 || isTooLarge ? 1 : 0;
}

function runMany(): number {
  console.log(`seeds from ${seed}: npm run oracle -- --seed ${seed} --programs ${programs}`);
  const startMs = performance.now();
  let nextMs = startMs + PROGRESS_MS;
  const { compared, tooLarge, failure } = search(seed, programs, options, (done) => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + PROGRESS_MS;
    console.log(`${done.toLocaleString("en")} programs compared`);
  });
  const seconds = Math.round((performance.now() - startMs) / 1000);
  console.log(
    `${compared.toLocaleString("en")} programs compared in ${seconds} s, ${tooLarge.toLocaleString("en")} too large`,
  );
  if (failure !== undefined) console.log(reportFailure(failure));
  return failure === undefined ? 0 : 1;
}

process.exitCode = values.program === undefined ? runMany() : runOne(values.program);
