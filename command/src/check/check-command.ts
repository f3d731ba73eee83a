/** @module `hmm check`: the options, the table as it grows, and the timelines after it. */

import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";

import type { Command } from "commander";

import { renderReport } from "../../../src/checker/report/report.ts";
import type { CommandContext } from "../command.ts";
import { EXIT_OK, EXIT_USAGE, EXIT_WRONG } from "../exit-status.ts";
import { EXIT_INTERRUPTED } from "../interruption.ts";
import { loadSecondsOption } from "../load-seconds.ts";
import { requireWritableFile } from "../named-files.ts";
import { oneOf, seconds, wholeNumber } from "../option-values.ts";
import { isInShard, shard as shardReader } from "../shard.ts";
import type { Shard } from "../shard.ts";
import { StatusLine } from "../status-line.ts";
import { formatRows } from "../text-table.ts";
import { isAsExpected } from "./check-row.ts";
import { runCheck } from "./check-run.ts";
import type { CheckPart } from "./check-part.ts";
import type { CheckResult } from "./check-run.ts";
import { CheckTable, summaryText } from "./check-table.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import { chosenScenarios } from "./chosen-scenarios.ts";
import { ENGINES, requireConsistent } from "./engine-choice.ts";
import type { EngineChoice } from "./engine-choice.ts";
import { shippedModule } from "./scenario-modules.ts";
import type { LocatedScenario } from "./scenario-modules.ts";
import { findingText } from "./shown-finding.ts";

const PREEMPTIONS_LIMIT = 1000;
const JOBS_LIMIT = 64;
const SECONDS_LIMIT = 7 * 24 * 3600;

interface Flags extends EngineChoice {
  readonly jobs: number;
  readonly loadSeconds: number;
  readonly show?: true;
  readonly html?: string;
  readonly json?: true;
  readonly list?: true;
  readonly checkpoint?: string;
  readonly shard?: Shard;
}

export function addCheck(parent: Command, context: CommandContext): void {
  parent
    .command("check")
    .description(
      "explore every interleaving of concurrent scenarios, and say what can go wrong in them",
    )
    .argument(
      "[scenario...]",
      "names, beginnings of names up to a slash, or modules that export scenarios (default: all)",
    )
    .option(
      "--engine <name>",
      `how to explore: ${ENGINES.join(", ")} (default: as the scenario wants)`,
      oneOf("--engine", ENGINES),
    )
    .option(
      "--preemptions <count>",
      "explore executions with at most so many preemptions",
      wholeNumber("--preemptions", 0, PREEMPTIONS_LIMIT),
    )
    .option(
      "--seed <number>",
      "of the engines random, pct and pos",
      wholeNumber("--seed", 0, 2 ** 32 - 1),
    )
    .option("--seconds <number>", "the most for one scenario", seconds("--seconds", SECONDS_LIMIT))
    .addOption(loadSecondsOption())
    .option(
      "--jobs <count>",
      "scenarios at once",
      wholeNumber("--jobs", 1, JOBS_LIMIT),
      availableParallelism(),
    )
    .option(
      "--shard <part/of>",
      "of the scenarios only a part, such as 3/8; hmm merge adds up",
      shardReader("--shard"),
    )
    .option("--show", "show timelines of expected findings, too")
    .option("--html <file>", "write the timelines of all findings to a page to step through")
    .option("--checkpoint <file>", "keep in a file what was reached, and go on from it")
    .option("--list", "name the scenarios, and explore nothing")
    .option("--json", "print one JSON array and nothing else on standard output")
    .action(async (args: string[], flags: Flags) => await check(args, flags, context));
}

async function check(
  args: readonly string[],
  flags: Flags,
  context: CommandContext,
): Promise<void> {
  requireConsistent(flags);
  requireWritableFile("--html", flags.html);
  requireWritableFile("--checkpoint", flags.checkpoint);
  const all = await chosenScenarios(args, flags.loadSeconds);
  const { shard } = flags;
  const scenarios = shard === undefined ? all : all.filter((_, i) => isInShard(i, shard));
  if (flags.list === true) context.terminal.out.write(listText(scenarios, flags, context));
  else await explore(scenarios, args, flags, context, partOf(all, args, flags));
}

/** What the JSON of a part has besides its rows. */
function partOf(
  all: readonly LocatedScenario[],
  args: readonly string[],
  { shard, engine, preemptions, seed, seconds: limit }: Flags,
): Omit<CheckPart, "rows" | "seconds"> | undefined {
  if (shard === undefined) return undefined;
  const question = JSON.stringify({ args, engine, preemptions, seed, seconds: limit });
  return {
    part: "check",
    version: 1,
    shard,
    question,
    scenarios: all.map(({ address }) => address.name),
  };
}

async function explore(
  scenarios: readonly LocatedScenario[],
  args: readonly string[],
  flags: Flags,
  context: CommandContext,
  part: Omit<CheckPart, "rows" | "seconds"> | undefined,
): Promise<void> {
  const { terminal } = context;
  const { engine, preemptions, seed, seconds: limit, jobs, json, html, checkpoint } = flags;
  const choice: EngineChoice = { engine, preemptions, seed, seconds: limit };
  const isAlone = scenarios.length === 1;
  const table = new CheckTable(
    scenarios.map(({ scenario }) => scenario),
    terminal.outColors,
    terminal.out.columns,
  );
  const file = new CheckpointFile(checkpoint, {
    args,
    ...choice,
    ...(part === undefined ? {} : { shard: part.shard }),
  });
  const state = file.read();
  const startMs = performance.now();
  if (json !== true) terminal.out.write(table.head());
  const result = await runCheck({
    scenarios,
    choice,
    workers: jobs,
    // Those that ship come back, be the machine ever so slow.
    patienceSeconds: scenarios.some(({ address }) => address.module !== shippedModule)
      ? flags.loadSeconds
      : Infinity,
    minimised:
      json === true || html !== undefined || flags.show === true || isAlone ? "all" : "surprises",
    shown: html !== undefined || flags.show === true || isAlone ? "all" : "surprises",
    state,
    file,
    line: new StatusLine(terminal),
    onRow: (row) => {
      if (json !== true) terminal.out.write(table.row(row));
    },
  });
  if (html !== undefined) writeFileSync(html, renderReport(result.shown));
  const elapsed = (performance.now() - startMs) / 1000;
  if (json !== true) terminal.out.write(afterTable(result, elapsed, flags, context));
  else if (part === undefined)
    terminal.out.write(`${JSON.stringify(result.rows.map(({ row }) => row))}\n`);
  else
    terminal.out.write(
      `${JSON.stringify({ ...part, seconds: elapsed, rows: result.rows } satisfies CheckPart)}\n`,
    );
  context.exitStatus = result.rows.every(isAsExpected) ? EXIT_OK : EXIT_WRONG;
  if (result.hasLost) context.exitStatus = EXIT_USAGE;
  if (result.isInterrupted) {
    context.exitStatus = EXIT_INTERRUPTED;
    terminal.err.write(`hmm: ${stoppedText(result, scenarios.length, checkpoint)}\n`);
  }
}

/** Timelines, and the summary below them, so that it is the last thing on the screen. */
function afterTable(
  result: CheckResult,
  elapsed: number,
  flags: Flags,
  { terminal }: CommandContext,
): string {
  const { rows, shown, isInterrupted } = result;
  const timelines = [...unexplored(rows), ...shown.map((one) => findingText(one, terminal))]
    .map((text) => `\n${text}`)
    .join("");
  if (isInterrupted) return timelines;
  const page =
    flags.html === undefined ? "" : `\`${flags.html}\` has the timelines to step through.\n`;
  return `${timelines}\n${summaryText(rows, elapsed, terminal.outColors)}${page}`;
}

/** Why scenarios could not be explored: they have no timeline that says so. */
function unexplored(rows: CheckResult["rows"]): string[] {
  return rows
    .filter(({ row }) => row.engine === "none")
    .map(({ row }) => `${row.scenario}: ${row.findings[0]?.message ?? ""}\n`);
}

function stoppedText({ rows }: CheckResult, total: number, checkpoint: string | undefined): string {
  const state = `Stopped: ${rows.length} of ${total} scenarios were explored`;
  return checkpoint === undefined
    ? `${state}; with --checkpoint <file> what was reached is kept, and the same command goes on`
    : `${state}; the same command with --checkpoint ${checkpoint} goes on`;
}

function listText(
  scenarios: readonly LocatedScenario[],
  flags: Flags,
  { terminal }: CommandContext,
): string {
  const all = scenarios.map(({ scenario: { name, summary = "", expects } }) => ({
    name,
    summary,
    expects,
  }));
  if (flags.json === true) {
    return `${JSON.stringify(all.map(({ expects, ...one }) => ({ scenario: one.name, summary: one.summary, expects: expects ?? null })))}\n`;
  }
  const rows = all.map(({ name, summary, expects }) => {
    return [name, `${summary}${expects === undefined ? "" : ` (expects: ${expects})`}`] as const;
  });
  return formatRows(rows, terminal.outColors, terminal.out.columns);
}
