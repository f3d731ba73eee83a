/**
 * @module `npm run check:counts`: every row of the counts, also the large ones, which take too long
 * for the tests. A line for each, with its time; the exit status is 1 if one is wrong, and 2
 * for a bad option. `-- --only TEXT` takes the rows whose name contains TEXT.
 */

import type { ExploreOptions } from "../../src/checker/explore.ts";
import { CommandLine } from "../command-line.ts";
import { checkBounds, checkOptimal, checkSource, rowName } from "./count-checks.ts";
import { largeBoundRows, largeRows, smallBoundRows, smallRows } from "./count-rows.ts";

interface Check {
  readonly name: string;
  readonly run: (watch: ExploreOptions) => unknown;
}

const rows = [...smallRows, ...largeRows];
const boundRows = [...smallBoundRows, ...largeBoundRows];
const checks: readonly Check[] = [
  ...rows.map((row) => ({
    name: `optimal ${rowName(row)}`,
    run: (watch: ExploreOptions): unknown => checkOptimal(row, watch),
  })),
  ...rows
    .filter(({ waste }) => waste !== undefined)
    .map((row) => ({
      name: `source  ${rowName(row)}`,
      run: (watch: ExploreOptions): unknown => checkSource(row, watch),
    })),
  ...boundRows.map((row) => ({
    name: `${row.engine} ${row.program.name}: ${row.classes.join(", ")}`,
    run: (watch: ExploreOptions): unknown => checkBounds(row, watch),
  })),
];

const isTerminal = process.stderr.isTTY;

/** Shows how far the row is that is under way, where somebody looks on. */
function watching(name: string): ExploreOptions {
  if (!isTerminal) return {};
  return {
    progressEvery: 5000,
    onProgress: ({ executions, seconds }): void => {
      const rate = Math.round(executions / Math.max(seconds, 0.001));
      process.stderr.write(`\r\u001B[K${name}  ${executions} done, ${rate} a second`);
    },
  };
}

const commandLine = new CommandLine(
  "npm run check:counts",
  `
npm run check:counts -- [options]: compares the checker's engines with every published count
  --only TEXT   the rows whose name contains TEXT`,
);
const { only = "" } = commandLine.read({ only: { type: "string" } });
const chosen = checks.filter(({ name }) => name.includes(only));
if (chosen.length === 0) commandLine.refuse(`no row's name contains ${JSON.stringify(only)}`);
const startMs = performance.now();
let wrong = 0;
for (const { name, run } of chosen) {
  const rowStartMs = performance.now();
  let verdict = "ok   ";
  let reason = "";
  try {
    run(watching(name));
  } catch (error) {
    wrong++;
    verdict = "WRONG";
    reason = `\n${error instanceof Error ? error.message : String(error)}`;
  }
  const seconds = (performance.now() - rowStartMs) / 1000;
  if (isTerminal) process.stderr.write("\r\u001B[K");
  process.stdout.write(`${verdict} ${seconds.toFixed(1).padStart(7)} s  ${name}${reason}\n`);
}
const seconds = (performance.now() - startMs) / 1000;
process.stdout.write(
  `${chosen.length - wrong} of ${chosen.length} rows are right; ${seconds.toFixed(0)} s\n`,
);
process.exitCode = wrong > 0 ? 1 : 0;
