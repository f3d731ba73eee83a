/**
 * @module The long form of oracle.test.ts: `npm run oracle -- --seed 1 --programs 20000`. Prints
 * the first program on which some engine and the oracle do not agree, made small, with a line that
 * repeats it; then the exit status is 1.
 */

import { parseArgs } from "node:util";
import type { Program } from "./language.ts";
import { compareSafely, failureOf, search, reportFailure } from "./search.ts";

const PROGRESS_MS = 10_000;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    programs: { type: "string", default: "1000" },
    program: { type: "string" },
    patience: { type: "string", default: "2000" },
  },
});
const seed = wholeNumber("seed", values.seed);
const programs = wholeNumber("programs", values.programs);
const options = { patience: wholeNumber("patience", values.patience) };

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  process.stderr.write(`oracle: --${name} must be a whole number from 0, not "${text}"\n`);
  return process.exit(2);
}

function runOne(text: string): number {
  const program = JSON.parse(text) as Program;
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
