/** @module `hmm fuzz`: the options, the progress, and what is told of a finding: the file that repeats it, and its timeline. */

import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";

import type { Command } from "commander";

import { findingText, showFinding } from "../check/shown-finding.ts";
import type { RowFinding } from "../check/check-row.ts";
import type { CommandContext } from "../command.ts";
import { EXIT_OK, EXIT_WRONG } from "../exit-status.ts";
import { EXIT_INTERRUPTED } from "../interruption.ts";
import { seconds as secondsReader, wholeNumber } from "../option-values.ts";
import { formatSeconds, formatThings } from "../quantities.ts";
import { StatusLine } from "../status-line.ts";
import { runFuzz } from "./fuzz-run.ts";
import type { FuzzResult } from "./fuzz-run.ts";
import type { OperationTable, OperationsModule } from "./fuzz-stage.ts";
import { readState } from "./fuzz-state.ts";
import { shippedOperations } from "./operations.ts";
import { programScenario } from "./program-scenario.ts";
import { scenarioFileText } from "./scenario-file.ts";
import type { ShrunkProgram } from "./shrink-program.ts";

const JOBS_LIMIT = 64;
const SECONDS_LIMIT = 30 * 24 * 3600;
const SECONDS_DEFAULT = 60;

export interface FuzzFlags {
  readonly seed?: number;
  readonly seconds: number;
  readonly jobs: number;
  readonly state?: string;
  readonly output: string;
  readonly json?: true;
}

/** A finding, and the file that repeats it. */
interface KeptFinding extends RowFinding {
  readonly file: string;
}

export function addFuzz(parent: Command, context: CommandContext): void {
  parent
    .command("fuzz")
    .description(
      "look for mistakes in this package: random programs of memory and device calls, under random schedules",
    )
    .option("--seed <number>", "of the programs and schedules (default: drawn)", wholeNumber("--seed", 0, 2 ** 32 - 1))
    .option("--seconds <number>", "how long", secondsReader("--seconds", SECONDS_LIMIT), SECONDS_DEFAULT)
    .option("--jobs <count>", "threads that search", wholeNumber("--jobs", 1, JOBS_LIMIT), availableParallelism())
    .option("--state <file>", "keep in a file what was learned, and go on from it")
    .option("--output <folder>", "where to write the scenario file of a finding", ".")
    .option("--json", "print one JSON object and nothing else on standard output")
    .action(async (flags: FuzzFlags) => await fuzz(flags, shippedOperations, context));
}

/** What `hmm fuzz` does; `operations` is the address of a module that exports them, so that tests can hand in one with a mistake. */
export async function fuzz(flags: FuzzFlags, operations: string, context: CommandContext): Promise<void> {
  const { terminal } = context;
  const { seed, seconds, jobs, state: statePath, output, json } = flags;
  const state = readState(statePath, seed);
  const line = new StatusLine(terminal);
  const result = await runFuzz({ state, statePath, operations, seconds, workers: jobs, line });
  const kept = result.found.map((found) => keep(found, output, state.seed));
  context.exitStatus = kept.length > 0 ? EXIT_WRONG : EXIT_OK;
  if (result.isInterrupted && kept.length === 0) context.exitStatus = EXIT_INTERRUPTED;
  if (json === true) {
    const { programs, executions, signals } = result;
    const said = { seed: state.seed, programs, executions, seconds: result.seconds, signals, findings: kept };
    terminal.out.write(`${JSON.stringify(said)}\n`);
    return;
  }
  const { operations: table } = (await import(operations)) as OperationsModule;
  for (const [i, { file }] of kept.entries()) {
    const found = result.found[i];
    if (found !== undefined) terminal.out.write(findingReport(found, file, table, context));
  }
  terminal.out.write(summary(result, state.seed, statePath));
}

/** Writes the scenario file. */
function keep(found: ShrunkProgram, folder: string, seed: number): KeptFinding {
  const { kind, message, token, threads, steps, preemptions } = found.finding;
  const fileName = `fuzz-${kind}-${seed}.mjs`;
  mkdirSync(folder, { recursive: true });
  const path = relative(".", join(folder, fileName));
  writeFileSync(path, scenarioFileText(fileName, found, seed));
  return { kind, message, token: `${path}@${token}`, threads, steps, preemptions, file: path };
}

function findingReport(
  { program, finding }: ShrunkProgram,
  file: string,
  table: OperationTable,
  { terminal }: CommandContext,
): string {
  const text = findingText(showFinding(programScenario(program, file, table), finding.token, {}), terminal);
  return `${text}\n\`${file}\` is the program: \`hmm check ${file}\` explores it.\n`;
}

function summary({ programs, executions, seconds, signals, found }: FuzzResult, seed: number, state?: string): string {
  const counts = `${formatThings(programs, "program")}, ${formatThings(executions, "execution")} in ${formatSeconds(seconds)}`;
  const verdict = found.length === 0 ? "nothing found" : formatThings(found.length, "finding");
  const next = state === undefined ? `seed ${seed}` : `seed ${seed}; the same command goes on from ${state}`;
  return `${counts}: ${formatThings(signals, "signal")}, ${verdict} (${next})\n`;
}
