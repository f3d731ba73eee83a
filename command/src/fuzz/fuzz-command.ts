/**
 * @module `hmm fuzz`: the options, the progress, and the output for a finding: the file that
 * repeats it, and its timeline.
 */

import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";

import type { Command } from "commander";

import { findingText, showFinding } from "../check/shown-finding.ts";
import type { CommandContext } from "../command.ts";
import { EXIT_OK, EXIT_WRONG, UsageError } from "../exit-status.ts";
import { EXIT_INTERRUPTED } from "../interruption.ts";
import { requireWritableFile, requireWritableFolder } from "../named-files.ts";
import { seconds as secondsReader, wholeNumber } from "../option-values.ts";
import { WHOLE, shard as shardReader } from "../shard.ts";
import type { Shard } from "../shard.ts";
import { StatusLine } from "../status-line.ts";
import { coverageOf, fuzzSummary } from "./fuzz-part.ts";
import type { FuzzPart, KeptFinding } from "./fuzz-part.ts";
import { runFuzz } from "./fuzz-run.ts";
import { runSlices } from "./fuzz-slices.ts";
import type { OperationTable, OperationsModule } from "./fuzz-stage.ts";
import { readState } from "./fuzz-state.ts";
import { shippedOperations } from "./operations.ts";
import { programScenario } from "./program-scenario.ts";
import { scenarioFileText, whereText } from "./scenario-file.ts";
import type { ShrunkProgram } from "./shrink-program.ts";

const JOBS_LIMIT = 64;
const SECONDS_LIMIT = 30 * 24 * 3600;
const SECONDS_DEFAULT = 60;
const PROGRAMS_LIMIT = 1_000_000_000;

export interface FuzzFlags {
  readonly seed?: number;
  /** Default SECONDS_DEFAULT, unless so many programs are asked for. */
  readonly seconds?: number;
  readonly programs?: number;
  readonly shard?: Shard;
  readonly jobs: number;
  readonly state?: string;
  readonly output: string;
  readonly json?: true;
}

export function addFuzz(parent: Command, context: CommandContext): void {
  parent
    .command("fuzz")
    .description(
      "look for mistakes in hmm-ts: random programs of memory and device calls, under random schedules",
    )
    .option(
      "--seed <number>",
      "of the programs and schedules (default: drawn)",
      wholeNumber("--seed", 0, 2 ** 32 - 1),
    )
    .option(
      "--seconds <number>",
      `how long (default: ${SECONDS_DEFAULT})`,
      secondsReader("--seconds", SECONDS_LIMIT),
    )
    .option(
      "--programs <count>",
      "how many, instead of how long: the same search on any number of threads and machines",
      wholeNumber("--programs", 1, PROGRAMS_LIMIT),
    )
    .option(
      "--shard <part/of>",
      "of the programs only a part, such as 3/8; hmm merge adds up",
      shardReader("--shard"),
    )
    .option(
      "--jobs <count>",
      "threads that search",
      wholeNumber("--jobs", 1, JOBS_LIMIT),
      availableParallelism(),
    )
    .option("--state <file>", "keep in a file what was learned, and go on from it")
    .option("--output <folder>", "where to write the scenario file of a finding", ".")
    .option("--json", "print one JSON object and nothing else on standard output")
    .action(async (flags: FuzzFlags) => await fuzz(flags, shippedOperations, context));
}

/**
 * The action of `hmm fuzz`. `operations` is the address of a module that exports the operations. So
 * tests can pass one with a bug.
 */
export async function fuzz(
  flags: FuzzFlags,
  operations: string,
  context: CommandContext,
): Promise<void> {
  requireConsistent(flags);
  requireWritableFile("--state", flags.state);
  requireWritableFolder("--output", flags.output);
  if (flags.programs === undefined) await fuzzForSeconds(flags, operations, context);
  else await fuzzPrograms(flags, flags.programs, operations, context);
}

/** Throws UsageError if the options contradict each other. */
function requireConsistent({ programs, seconds, state, shard, seed }: FuzzFlags): void {
  if (programs !== undefined && (seconds !== undefined || state !== undefined)) {
    const other = seconds === undefined ? "--state" : "--seconds";
    throw new UsageError(
      `Cannot use --programs with ${other}: what so many programs find depends on the seed alone`,
    );
  }
  if (shard !== undefined && (programs === undefined || seed === undefined)) {
    throw new UsageError(
      "Cannot use --shard without --programs and --seed: the parts must be of one search, which those two determine",
    );
  }
}

async function fuzzForSeconds(
  flags: FuzzFlags,
  operations: string,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { seed, seconds = SECONDS_DEFAULT, jobs, state: statePath, output, json } = flags;
  const state = readState(statePath, seed);
  const line = new StatusLine(terminal);
  const result = await runFuzz({ state, statePath, operations, seconds, workers: jobs, line });
  const nameOf = fileNames(state.seed);
  const kept = result.found.map((found) => keep(found, output, state.seed, nameOf(found)));
  setExitStatus(context, kept.length, result.isInterrupted);
  const { programs, executions, functions, seconds: took } = result;
  const signals = Array.from(result.signals);
  const counts = { seed: state.seed, programs, executions, seconds: took };
  if (json === true) {
    const coverage = coverageOf({ signals, functions });
    const said = { ...counts, signals: signals.length, coverage, findings: kept };
    terminal.out.write(`${JSON.stringify(said)}\n`);
    return;
  }
  await tell(result.found, kept, operations, context);
  const next = statePath === undefined ? "" : `; the same command goes on from ${statePath}`;
  terminal.out.write(fuzzSummary({ ...counts, signals, functions, found: kept.length }, next));
}

async function fuzzPrograms(
  flags: FuzzFlags,
  programs: number,
  operations: string,
  context: CommandContext,
): Promise<void> {
  const { terminal } = context;
  const { seed = Math.floor(Math.random() * 2 ** 32), shard = WHOLE, jobs, output, json } = flags;
  const line = new StatusLine(terminal);
  const result = await runSlices({ seed, programs, shard, operations, workers: jobs, line });
  const nameOf = fileNames(seed);
  const kept = result.found.map(({ slice, shrunk }) => ({
    ...keep(shrunk, output, seed, nameOf(shrunk, slice)),
    slice,
  }));
  setExitStatus(context, kept.length, result.isInterrupted);
  const { executions, seconds, signals, functions } = result;
  const counts = { seed, programs: result.programs, executions, seconds };
  const question = JSON.stringify({ seed, programs });
  const part: FuzzPart = {
    part: "fuzz",
    version: 1,
    shard,
    question,
    ...counts,
    signals,
    functions,
    findings: kept,
  };
  if (json === true) {
    const coverage = coverageOf({ signals, functions });
    const whole = { ...counts, signals: signals.length, coverage, findings: kept };
    terminal.out.write(`${JSON.stringify(flags.shard === undefined ? whole : part)}\n`);
    return;
  }
  const found = result.found.map(({ shrunk }) => shrunk);
  await tell(found, kept, operations, context);
  terminal.out.write(fuzzSummary({ ...counts, signals, functions, found: kept.length }));
}

function setExitStatus(context: CommandContext, findings: number, isInterrupted: boolean): void {
  context.exitStatus = findings > 0 ? EXIT_WRONG : EXIT_OK;
  if (isInterrupted && findings === 0) context.exitStatus = EXIT_INTERRUPTED;
}

/** The timelines of the findings. */
async function tell(
  found: readonly ShrunkProgram[],
  kept: readonly KeptFinding[],
  operations: string,
  context: CommandContext,
): Promise<void> {
  const { operations: table } = (await import(operations)) as OperationsModule;
  for (const [i, { file }] of kept.entries()) {
    const one = found[i];
    if (one !== undefined) context.terminal.out.write(findingReport(one, file, table, context));
  }
}

/** Names for the files of a run's findings, each another. */
function fileNames(seed: number): (found: ShrunkProgram, slice?: number) => string {
  const used = new Map<string, number>();
  return ({ finding }, slice) => {
    const name = `fuzz-${finding.kind}-${seed}${slice === undefined ? "" : `-${slice}`}`;
    const times = (used.get(name) ?? 0) + 1;
    used.set(name, times);
    return `${name}${times === 1 ? "" : `-${times}`}.mjs`;
  };
}

/** Writes the scenario file. */
function keep(found: ShrunkProgram, folder: string, seed: number, fileName: string): KeptFinding {
  const { kind, message, token, threads, steps, preemptions } = found.finding;
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
  const text = findingText(
    showFinding(programScenario(program, file, table), finding.token, {}),
    terminal,
  );
  return `${text}\n${whereText(file)}`;
}
